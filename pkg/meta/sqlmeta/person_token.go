package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectPersonKey = `
SELECT x.name, x.hash, x.description, x.created_at, x.expires_at, x.last_used_at, x.last_used_from
FROM person_tokens x WHERE x.provider_id = $1 AND x.subject = $2`

	listPersonKeys = selectPersonKey + ` ORDER BY x.name`
	findPersonKey  = selectPersonKey + ` AND x.name = $3`

	insertPersonKey = `
INSERT INTO person_tokens (provider_id, subject, name, hash, login_name, description, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, berth_now(), $7) ON CONFLICT (provider_id, subject, name) DO NOTHING`

	deletePersonKey      = `DELETE FROM person_tokens WHERE provider_id = $1 AND subject = $2 AND name = $3`
	deletePersonKeys     = `DELETE FROM person_tokens WHERE provider_id = $1 AND subject = $2`
	deleteKeysOfProvider = `DELETE FROM person_tokens WHERE provider_id = $1`

	wakeAccountsOfPerson = `
UPDATE account_identities SET due_at = berth_now() WHERE provider_id = $1 AND subject = $2 AND due_at IS NULL AND ended_at IS NULL`

	accountsOfPerson = `
SELECT i.tenant_id, i.account_id, (SELECT a.slug FROM accounts a WHERE a.tenant_id = i.tenant_id AND a.id = i.account_id)
FROM account_identities i WHERE i.provider_id = $1 AND i.subject = $2 ORDER BY i.tenant_id LIMIT 1000`

	// All that was issued for the person, not for one token: then no account has many revocations,
	// however many tokens the person makes and deletes.
	raiseEpochsOfPerson = `
UPDATE accounts AS a SET epoch = a.epoch + 1 FROM account_identities i
 WHERE i.provider_id = $1 AND i.subject = $2 AND a.tenant_id = i.tenant_id AND a.id = i.account_id`
	revokePerson = `
INSERT INTO revocations (tenant_id, account_id, key_name, epoch, at)
SELECT a.tenant_id, a.id, '', a.epoch, berth_now()
  FROM account_identities i JOIN accounts a ON a.tenant_id = i.tenant_id AND a.id = i.account_id
 WHERE i.provider_id = $1 AND i.subject = $2
ON CONFLICT (tenant_id, account_id, key_name) DO UPDATE SET epoch = excluded.epoch, at = excluded.at`

	// It begins at the hash, as findAccountByKey does.
	findPersonByKey = `
SELECT x.name, x.provider_id, x.subject, coalesce(i.login_name, x.login_name),
       coalesce(a.id, 0), coalesce(a.slug, ''), coalesce(a.role, ''), coalesce(a.disabled, FALSE), coalesce(a.epoch, 0)
FROM person_tokens x
JOIN tenants t ON t.id = $1 AND t.state = 'active'
LEFT JOIN account_identities i ON i.tenant_id = t.id AND i.provider_id = x.provider_id AND i.subject = x.subject
LEFT JOIN accounts a ON a.tenant_id = i.tenant_id AND a.id = i.account_id
WHERE x.hash = $2 AND x.expires_at > berth_now()`

	recordPersonUsesPostgres = `
UPDATE person_tokens x SET last_used_at = u.at, last_used_from = u.address
  FROM json_to_recordset(CAST($1 AS json)) AS u (tenant bigint, account bigint, key text, at timestamptz, address text)
  JOIN account_identities i ON i.tenant_id = u.tenant AND i.account_id = u.account
 WHERE x.provider_id = i.provider_id AND x.subject = i.subject AND x.name = u.key AND (x.last_used_at IS NULL OR x.last_used_at < u.at)`
	recordPersonUsesSQLite = `
UPDATE person_tokens AS x SET last_used_at = j.value ->> 'micros', last_used_from = j.value ->> 'address'
  FROM json_each($1) j JOIN account_identities i ON i.tenant_id = j.value ->> 'tenant' AND i.account_id = j.value ->> 'account'
 WHERE x.provider_id = i.provider_id AND x.subject = i.subject AND x.name = j.value ->> 'key'
   AND (x.last_used_at IS NULL OR x.last_used_at < j.value ->> 'micros')`
)

func scanPersonToken(scan Scan) (meta.AccountKey, error) {
	k, err := scanAccountKey(scan)
	k.AllTenants = true
	return k, err
}

// CreatePersonToken implements meta.PersonTokens. The account is locked, so that the limit holds
// for what is made at one tenant.
func (s *Records) CreatePersonToken(ctx context.Context, by meta.Cause, p meta.Person, key meta.AccountKey) (meta.AccountKey, error) {
	err := s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		if err := begin(t, by, p.Tenant, "accessToken.create", keyTarget(access.UserKind, p.Slug, key.Name)); err != nil {
			return err
		}
		if r, err := lockedAccount(t, p.Tenant, access.UserKind, p.Slug, 0); err != nil {
			return err
		} else if r.disabled || r.id != p.ID {
			return noAccount(access.UserKind, p.Slug)
		}
		taken := fault.New(fault.Conflict, fault.AlreadyExists, "the person has a token %q already", key.Name)
		if err := change(t, taken, insertPersonKey, p.Provider, p.Subject, key.Name, key.Hash[:], p.LoginName, key.Note, t.Time(key.ExpiresAt)); err != nil {
			return err
		}
		if err := t.Queue(wakeAccountsOfPerson, p.Provider, p.Subject); err != nil {
			return err
		}
		return checkLimit(t, s.limits.KeyLimit(), countPersonKeys, p.Provider, p.Subject)
	})
	if err != nil {
		return meta.AccountKey{}, err
	}
	return find(ctx, s, noTenant, noPersonToken(key.Name), scanPersonToken, findPersonKey, p.Provider, p.Subject, key.Name)
}

// ListPersonTokens implements meta.PersonTokens.
func (s *Records) ListPersonTokens(ctx context.Context, p meta.Person) ([]meta.AccountKey, error) {
	return list(ctx, s, noTenant, scanPersonToken, listPersonKeys, p.Provider, p.Subject)
}

// DeletePersonToken implements meta.PersonTokens.
func (s *Records) DeletePersonToken(ctx context.Context, by meta.Cause, p meta.Person, name string) error {
	return s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		if err := begin(t, by, p.Tenant, "accessToken.delete", keyTarget(access.UserKind, p.Slug, name)); err != nil {
			return err
		}
		if err := change(t, noPersonToken(name), deletePersonKey, p.Provider, p.Subject, name); err != nil {
			return err
		}
		for _, statement := range []string{raiseEpochsOfPerson, revokePerson} {
			if err := t.Queue(statement, p.Provider, p.Subject); err != nil {
				return err
			}
		}
		return nil
	})
}

// FindPersonByToken implements meta.PersonTokens.
func (s *Records) FindPersonByToken(ctx context.Context, t tenant.ID, hash [32]byte) (meta.PersonLogin, error) {
	unknown := fault.New(fault.NotFound, fault.ResourceUnknown, "no person has this token")
	return find(ctx, s, t, unknown, func(scan Scan) (meta.PersonLogin, error) {
		l := meta.PersonLogin{Person: meta.Person{Account: meta.Account{Tenant: t, Kind: access.UserKind}}}
		err := scan(&l.Token, &l.Provider, &l.Subject, &l.LoginName, &l.ID, &l.Slug, &l.Role, &l.Disabled, &l.Epoch)
		return l, err
	}, findPersonByKey, t, hash[:])
}

// AccountsOfPerson implements meta.PersonTokens.
func (s *Records) AccountsOfPerson(ctx context.Context, provider int64, subject string) ([]meta.Person, error) {
	return list(ctx, s, noTenant, func(scan Scan) (meta.Person, error) {
		p := meta.Person{Account: meta.Account{Kind: access.UserKind}, Provider: provider, Subject: subject}
		err := scan(&p.Tenant, &p.ID, &p.Slug)
		return p, err
	}, accountsOfPerson, provider, subject)
}

func noPersonToken(name string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "the person has no token %q", name)
}
