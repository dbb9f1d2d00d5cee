package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectAccountKey = `
SELECT k.name, k.hash, k.description, k.created_at, k.expires_at, k.last_used_at, k.last_used_from
FROM accounts a JOIN account_keys k ON k.tenant_id = a.tenant_id AND k.account_id = a.id
WHERE a.tenant_id = $1 AND a.kind = $2 AND a.slug = $3`

	listAccountKeys = selectAccountKey + ` ORDER BY k.name`
	findAccountKey  = selectAccountKey + ` AND k.name = $4`

	insertAccountKey = `
INSERT INTO account_keys (tenant_id, account_id, name, hash, created_at, expires_at, description) VALUES ($1, $2, $3, $4, berth_now(), $5, $6)
ON CONFLICT (tenant_id, account_id, name) DO NOTHING`

	deleteAccountKey = `DELETE FROM account_keys WHERE tenant_id = $1 AND account_id = $2 AND name = $3`

	// It begins at the hash, so that its cost does not show whether the account exists
	// (contract row B10).
	findAccountByKey = `
SELECT k.name, ` + accountColumns + `
FROM account_keys k
JOIN accounts a ON a.tenant_id = k.tenant_id AND a.id = k.account_id
JOIN tenants t ON t.id = a.tenant_id
WHERE k.hash = $3 AND (CAST($1 AS bigint) = 0 OR a.tenant_id = $1) AND ($2 = '' OR a.slug = $2)
  AND NOT a.disabled AND t.state = 'active' AND (k.expires_at IS NULL OR k.expires_at > berth_now())`

	findLogin = `
SELECT coalesce(k.name, ''), ` + accountColumns + `
FROM accounts a
JOIN tenants t ON t.id = a.tenant_id
LEFT JOIN account_keys k ON k.tenant_id = a.tenant_id AND k.account_id = a.id AND k.hash = $3 AND (k.expires_at IS NULL OR k.expires_at > berth_now())
WHERE a.tenant_id = $1 AND a.slug = $2 AND NOT a.disabled AND t.state = 'active'`

	rehashPassword = `UPDATE accounts SET password = $4 WHERE tenant_id = $1 AND id = $2 AND password = $3`

	recordKeyUsesPostgres = `
UPDATE account_keys k SET last_used_at = u.at, last_used_from = u.address
  FROM json_to_recordset(CAST($1 AS json)) AS u (tenant bigint, account bigint, key text, at timestamptz, address text)
 WHERE k.tenant_id = u.tenant AND k.account_id = u.account AND k.name = u.key AND (k.last_used_at IS NULL OR k.last_used_at < u.at)`
	recordKeyUsesSQLite = `
UPDATE account_keys SET last_used_at = j.value ->> 'micros', last_used_from = j.value ->> 'address'
  FROM json_each($1) j
 WHERE tenant_id = j.value ->> 'tenant' AND account_id = j.value ->> 'account' AND name = j.value ->> 'key'
   AND (last_used_at IS NULL OR last_used_at < j.value ->> 'micros')`
)

func scanAccountKey(scan Scan) (meta.AccountKey, error) {
	var k meta.AccountKey
	err := scan(&k.Name, hashScanner{&k.Hash}, &k.Note, timeScanner{&k.CreatedAt}, timeScanner{&k.ExpiresAt}, timeScanner{&k.UsedAt}, textScanner{&k.UsedFrom})
	return k, err
}

// ListAccountKeys implements meta.Accounts.
func (s *Records) ListAccountKeys(ctx context.Context, t tenant.ID, k access.Kind, slug string) ([]meta.AccountKey, error) {
	if _, err := s.FindAccount(ctx, t, k, slug); err != nil {
		return nil, err
	}
	return list(ctx, s, t, scanAccountKey, listAccountKeys, t, k, slug)
}

// CreateAccountKey implements meta.Accounts.
func (s *Records) CreateAccountKey(ctx context.Context, by meta.Cause, id tenant.ID, k access.Kind, slug string, key meta.AccountKey) (meta.AccountKey, error) {
	err := s.engine.Write(ctx, id, func(t Tx) error {
		if err := begin(t, by, id, eventOf(k, "key.create", "accessToken.create"), keyTarget(k, slug, key.Name)); err != nil {
			return err
		}
		account, err := lockedAccount(t, id, k, slug, 0)
		if err != nil {
			return err
		}
		taken := fault.New(fault.Conflict, fault.AlreadyExists, "%s %q has a secret %q already", k.Noun(), slug, key.Name)
		if err := change(t, taken, insertAccountKey, id, account.id, key.Name, key.Hash[:], t.Time(key.ExpiresAt), key.Note); err != nil {
			return err
		}
		if err := t.Queue(wakePerson, id, account.id); err != nil {
			return err
		}
		return checkLimit(t, s.limits.KeyLimit(), countAccountKeys, id, account.id)
	})
	if err != nil {
		return meta.AccountKey{}, err
	}
	return find(ctx, s, id, noKey(k, slug, key.Name), scanAccountKey, findAccountKey, id, k, slug, key.Name)
}

// DeleteAccountKey implements meta.Accounts.
func (s *Records) DeleteAccountKey(ctx context.Context, by meta.Cause, id tenant.ID, k access.Kind, slug, name string) error {
	return s.engine.Write(ctx, id, func(t Tx) error {
		if err := begin(t, by, id, eventOf(k, "key.delete", "accessToken.delete"), keyTarget(k, slug, name)); err != nil {
			return err
		}
		account, err := lockedAccount(t, id, k, slug, 0)
		if err != nil {
			return err
		}
		if err := change(t, noKey(k, slug, name), deleteAccountKey, id, account.id, name); err != nil {
			return err
		}
		if err := t.Queue(deleteRefreshesOfKey, id, account.id, name); err != nil {
			return err
		}
		if err := t.Queue(deleteSessionsOfKey, id, account.id, name); err != nil {
			return err
		}
		return revoke(t, id, account, name)
	})
}

// FindAccountByKey implements meta.Accounts. Keys of a suspended tenant are not
// found.
func (s *Records) FindAccountByKey(ctx context.Context, t tenant.ID, slug string, hash [32]byte) (meta.Login, error) {
	unknown := fault.New(fault.NotFound, fault.ResourceUnknown, "no account has this key")
	return find(ctx, s, t, unknown, scanLogin, findAccountByKey, t, slug, hash[:])
}

// FindLogin implements meta.Accounts.
func (s *Records) FindLogin(ctx context.Context, t tenant.ID, slug string, hash [32]byte) (meta.Login, error) {
	unknown := fault.New(fault.NotFound, fault.ResourceUnknown, "there is no account %q", slug)
	return find(ctx, s, t, unknown, scanLogin, findLogin, t, slug, hash[:])
}

// RehashPassword implements meta.Passwords.
func (s *Records) RehashPassword(ctx context.Context, id tenant.ID, account int64, old, renewed string) error {
	return s.engine.Write(ctx, id, func(t Tx) error { return t.Queue(rehashPassword, id, account, old, renewed) })
}

func scanLogin(scan Scan) (meta.Login, error) {
	var l meta.Login
	err := scan(append([]any{&l.Key}, accountDest(&l.Account)...)...)
	return l, err
}

func keyTarget(k access.Kind, slug, name string) string {
	collection := "/keys/"
	if k == access.UserKind {
		collection = "/accessTokens/"
	}
	return k.PrincipalName(slug) + collection + name
}

func noKey(k access.Kind, slug, name string) error {
	noun := "key"
	if k == access.UserKind {
		noun = "access token"
	}
	return fault.New(fault.NotFound, fault.ResourceUnknown, "%s %q has no %s %q", k.Noun(), slug, noun, name)
}
