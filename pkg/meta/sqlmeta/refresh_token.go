package sqlmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	refreshColumns = `
r.name, r.hash, r.key_name, r.seed, r.client_id, r.created_at, r.created_from, r.last_used_at, r.last_used_from, r.expires_at`

	listRefreshTokens = `
SELECT ` + refreshColumns + `
FROM accounts a JOIN refresh_tokens r ON r.tenant_id = a.tenant_id AND r.account_id = a.id
WHERE a.tenant_id = $1 AND a.kind = $2 AND a.slug = $3 AND r.expires_at > berth_now() ORDER BY r.name`

	findRefreshTokenOfKey = `
SELECT ` + refreshColumns + ` FROM refresh_tokens r
WHERE r.tenant_id = $1 AND r.account_id = $2 AND r.key_name = $3 AND r.client_id = $4 AND r.expires_at > berth_now()
ORDER BY r.created_at DESC, r.name LIMIT 1`

	// It begins at the hash, as findAccountByKey does. A key of the same name that was made
	// later is another key.
	findAccountByRefreshToken = `
SELECT ` + accountColumns + `, ` + refreshColumns + `
FROM refresh_tokens r
JOIN accounts a ON a.tenant_id = r.tenant_id AND a.id = r.account_id
JOIN tenants t ON t.id = a.tenant_id
WHERE r.hash = $2 AND r.tenant_id = $1 AND r.expires_at > berth_now() AND NOT a.disabled AND t.state = 'active'
  AND (r.key_name <> '' OR NOT t.no_passwords)
  AND (r.key_name = '' OR EXISTS (
    SELECT 1 FROM account_keys k WHERE k.tenant_id = r.tenant_id AND k.account_id = r.account_id AND k.name = r.key_name
      AND k.created_at <= r.created_at AND (k.expires_at IS NULL OR k.expires_at > berth_now())))`

	findAccountEpoch = `SELECT epoch FROM accounts WHERE tenant_id = $1 AND id = $2 AND NOT disabled`
	lockAccountEpoch = findAccountEpoch + ` FOR UPDATE`

	insertRefresh = `
INSERT INTO refresh_tokens (tenant_id, account_id, name, hash, key_name, seed, client_id, created_at, created_from, last_used_at, last_used_from, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, berth_now(), $8, berth_now(), $8, berth_now() + CAST($9 AS interval))
ON CONFLICT (tenant_id, account_id, name) DO NOTHING`

	endOldRefreshes = `
DELETE FROM refresh_tokens WHERE tenant_id = $1 AND account_id = $2 AND name IN (
  SELECT o.name FROM refresh_tokens o WHERE o.tenant_id = $1 AND o.account_id = $2 ORDER BY o.last_used_at DESC, o.name LIMIT 1000 OFFSET $3)`

	useRefreshToken = `
UPDATE refresh_tokens SET last_used_at = berth_now(), last_used_from = $4, expires_at = berth_now() + CAST($5 AS interval)
WHERE tenant_id = $1 AND account_id = $2 AND name = $3 AND last_used_at <= berth_now() - CAST($6 AS interval)`

	deleteRefresh        = `DELETE FROM refresh_tokens WHERE tenant_id = $1 AND account_id = $2 AND name = $3`
	deleteRefreshes      = `DELETE FROM refresh_tokens WHERE tenant_id = $1 AND account_id = $2`
	deleteRefreshesOfKey = deleteRefreshes + ` AND key_name = $3`
	trimRefreshes        = `DELETE FROM refresh_tokens WHERE expires_at < berth_now()`
)

func refreshTokenDest(r *meta.RefreshToken) []any {
	return []any{
		&r.Name,
		hashScanner{&r.Hash},
		&r.Key, &r.Seed, &r.Client,
		timeScanner{&r.CreatedAt},
		&r.CreatedFrom,
		timeScanner{&r.LastUsedAt},
		&r.LastUsedFrom,
		timeScanner{&r.ExpiresAt},
	}
}

func scanRefreshToken(scan Scan) (meta.RefreshToken, error) {
	var r meta.RefreshToken
	err := scan(refreshTokenDest(&r)...)
	return r, err
}

// CreateRefreshToken implements meta.RefreshTokens.
func (s *Records) CreateRefreshToken(ctx context.Context, p access.Principal, r meta.RefreshToken, life time.Duration) error {
	return s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		if err := checkEpoch(t, p.Tenant, p.ID, p.Epoch); err != nil {
			return err
		}
		if err := t.Queue(insertRefresh, p.Tenant, p.ID, r.Name, r.Hash[:], r.Key, append([]byte{}, r.Seed...), r.Client, r.CreatedFrom, t.Interval(life)); err != nil {
			return err
		}
		if err := t.Queue(wakePerson, p.Tenant, p.ID); err != nil {
			return err
		}
		return t.Queue(endOldRefreshes, p.Tenant, p.ID, meta.MaxRefreshTokens)
	})
}

// FindRefreshTokenOfKey implements meta.RefreshTokens.
func (s *Records) FindRefreshTokenOfKey(ctx context.Context, p access.Principal, client string) (meta.RefreshToken, error) {
	return find(ctx, s, p.Tenant, noRefreshToken(), scanRefreshToken, findRefreshTokenOfKey, p.Tenant, p.ID, p.Key, client)
}

// loginByToken is a row of findAccountByRefreshToken.
type loginByToken struct {
	login meta.Login
	token meta.RefreshToken
}

// FindAccountByRefreshToken implements meta.RefreshTokens.
func (s *Records) FindAccountByRefreshToken(ctx context.Context, t tenant.ID, hash [32]byte) (meta.Login, meta.RefreshToken, error) {
	found, err := find(ctx, s, t, noRefreshToken(), func(scan Scan) (loginByToken, error) {
		var l loginByToken
		err := scan(append(accountDest(&l.login.Account), refreshTokenDest(&l.token)...)...)
		l.login.Key = l.token.Key
		return l, err
	}, findAccountByRefreshToken, t, hash[:])
	return found.login, found.token, err
}

// UseRefreshToken implements meta.RefreshTokens.
func (s *Records) UseRefreshToken(ctx context.Context, p access.Principal, name, address string, life time.Duration) error {
	return s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		return t.Queue(useRefreshToken, p.Tenant, p.ID, name, address, t.Interval(life), t.Interval(meta.RefreshTokenUse))
	})
}

// ListRefreshTokens implements meta.RefreshTokens.
func (s *Records) ListRefreshTokens(ctx context.Context, t tenant.ID, k access.Kind, slug string) ([]meta.RefreshToken, error) {
	if _, err := s.FindAccount(ctx, t, k, slug); err != nil {
		return nil, err
	}
	return list(ctx, s, t, scanRefreshToken, listRefreshTokens, t, k, slug)
}

// DeleteRefreshToken implements meta.RefreshTokens.
func (s *Records) DeleteRefreshToken(ctx context.Context, by meta.Cause, id tenant.ID, k access.Kind, slug, name string) error {
	return s.engine.Write(ctx, id, func(t Tx) error {
		if err := begin(t, by, id, "refreshToken.delete", k.PrincipalName(slug)+"/refreshTokens/"+name); err != nil {
			return err
		}
		r, err := lockedAccount(t, id, k, slug, 0)
		if err != nil {
			return err
		}
		return change(t, noRefreshToken(), deleteRefresh, id, r.id, name)
	})
}

func noRefreshToken() error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "refresh token not found")
}

// endRefreshTokens ends the refresh tokens that a change of an account leaves no room for.
func endRefreshTokens(t Tx, a meta.Account, r accountRow) error {
	switch {
	case a.Disabled:
		return t.Queue(deleteRefreshes, a.Tenant, r.id)
	case a.Password != r.password:
		return t.Queue(deleteRefreshesOfKey, a.Tenant, r.id, "")
	default:
		return nil
	}
}
