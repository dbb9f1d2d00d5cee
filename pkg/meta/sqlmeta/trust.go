package sqlmeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectTrust = `
SELECT k.name, k.issuer, k.audiences, k.condition, k.description, k.created_at, k.expires_at, k.last_used_at, k.last_used_from
FROM accounts a JOIN account_trusts k ON k.tenant_id = a.tenant_id AND k.account_id = a.id
WHERE a.tenant_id = $1 AND a.kind = 'service' AND a.slug = $2`

	listTrusts = selectTrust + ` ORDER BY k.name`
	findTrust  = selectTrust + ` AND k.name = $3`

	insertTrust = `
INSERT INTO account_trusts (tenant_id, account_id, name, issuer, audiences, condition, description, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, berth_now(), $8)
ON CONFLICT (tenant_id, account_id, name) DO NOTHING`

	deleteTrust = `DELETE FROM account_trusts WHERE tenant_id = $1 AND account_id = $2 AND name = $3`

	findTrusts = `
SELECT k.name, k.audiences, k.condition, ` + accountColumns + `
FROM accounts a
JOIN tenants t ON t.id = a.tenant_id
JOIN account_trusts k ON k.tenant_id = a.tenant_id AND k.account_id = a.id AND k.issuer = $3 AND (k.expires_at IS NULL OR k.expires_at > berth_now())
WHERE a.tenant_id = $1 AND a.kind = 'service' AND a.slug = $2 AND NOT a.disabled AND t.state = 'active'
ORDER BY k.name`

	recordTrustUsesPostgres = `
UPDATE account_trusts k SET last_used_at = u.at, last_used_from = u.address
  FROM json_to_recordset(CAST($1 AS json)) AS u (tenant bigint, account bigint, key text, at timestamptz, address text)
 WHERE k.tenant_id = u.tenant AND k.account_id = u.account AND k.name = u.key AND (k.last_used_at IS NULL OR k.last_used_at < u.at)`
	recordTrustUsesSQLite = `
UPDATE account_trusts SET last_used_at = j.value ->> 'micros', last_used_from = j.value ->> 'address'
  FROM json_each($1) j
 WHERE tenant_id = j.value ->> 'tenant' AND account_id = j.value ->> 'account' AND name = j.value ->> 'key'
   AND (last_used_at IS NULL OR last_used_at < j.value ->> 'micros')`
)

func scanTrust(scan Scan) (meta.Trust, error) {
	var k meta.Trust
	err := scan(&k.Name, &k.Issuer, jsonScanner{&k.Audiences}, &k.Condition, &k.Note,
		timeScanner{&k.CreatedAt}, timeScanner{&k.ExpiresAt}, timeScanner{&k.UsedAt}, textScanner{&k.UsedFrom})
	return k, err
}

// ListTrusts implements meta.Trusts.
func (s *Records) ListTrusts(ctx context.Context, t tenant.ID, account string) ([]meta.Trust, error) {
	if _, err := s.FindAccount(ctx, t, access.ServiceKind, account); err != nil {
		return nil, err
	}
	return list(ctx, s, t, scanTrust, listTrusts, t, account)
}

// CreateTrust implements meta.Trusts.
func (s *Records) CreateTrust(ctx context.Context, by meta.Cause, id tenant.ID, account string, made meta.Trust) (meta.Trust, error) {
	audiences, err := json.Marshal(append([]string{}, made.Audiences...))
	if err != nil {
		return meta.Trust{}, err
	}
	err = s.engine.Write(ctx, id, func(t Tx) error {
		if err := begin(t, by, id, "trust.create", trustTarget(account, made.Name)); err != nil {
			return err
		}
		a, err := lockedAccount(t, id, access.ServiceKind, account, 0)
		if err != nil {
			return err
		}
		taken := fault.New(fault.Conflict, fault.AlreadyExists, "service account %q has a trust %q already", account, made.Name)
		if err := change(t, taken, insertTrust, id, a.id, made.Name, made.Issuer, string(audiences), made.Condition, made.Note, t.Time(made.ExpiresAt)); err != nil {
			return err
		}
		return checkLimit(t, s.limits.TrustLimit(), countTrusts, id, a.id)
	})
	if err != nil {
		return meta.Trust{}, err
	}
	return find(ctx, s, id, noTrust(account, made.Name), scanTrust, findTrust, id, account, made.Name)
}

// DeleteTrust implements meta.Trusts.
func (s *Records) DeleteTrust(ctx context.Context, by meta.Cause, id tenant.ID, account, name string) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		if err := begin(t, by, id, "trust.delete", trustTarget(account, name)); err != nil {
			return err
		}
		a, err := lockedAccount(t, id, access.ServiceKind, account, 0)
		if err != nil {
			return err
		}
		if err := change(t, noTrust(account, name), deleteTrust, id, a.id, name); err != nil {
			return err
		}
		return revoke(t, id, a, access.TrustKey(name))
	})
}

// FindTrusts implements meta.TrustFinder.
func (s *Records) FindTrusts(ctx context.Context, t tenant.ID, account, issuer string) ([]meta.TrustedAccount, error) {
	return list(ctx, s, t, scanTrustedAccount, findTrusts, t, account, issuer)
}

func scanTrustedAccount(scan Scan) (meta.TrustedAccount, error) {
	var a meta.TrustedAccount
	err := scan(append([]any{&a.Trust.Name, jsonScanner{&a.Audiences}, &a.Condition}, accountDest(&a.Account)...)...)
	return a, err
}

func trustTarget(account, name string) string {
	return access.ServiceKind.PrincipalName(account) + "/trusts/" + name
}

func noTrust(account, name string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "service account %q has no trust %q", account, name)
}
