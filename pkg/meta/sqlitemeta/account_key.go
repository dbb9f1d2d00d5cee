package sqlitemeta

import (
	"context"
	"fmt"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const listAccountKeys = `
SELECT k.name, k.hash, k.created_at, k.expires_at
FROM accounts a JOIN account_keys k ON k.tenant_id = a.tenant_id AND k.account_id = a.id
WHERE a.tenant_id = ?1 AND a.slug = ?2 ORDER BY k.name`

func scanAccountKey(scan scan) (meta.AccountKey, error) {
	var k meta.AccountKey
	err := scan(&k.Name, keyHash{&k.Hash}, moment{&k.CreatedAt}, moment{&k.ExpiresAt})
	return k, err
}

// keyHash reads a stored SHA-256.
type keyHash struct{ to *[32]byte }

// Scan implements sql.Scanner.
func (h keyHash) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != len(h.to) {
		return fmt.Errorf("sqlitemeta: %T is no hash of a key", v)
	}
	copy(h.to[:], b)
	return nil
}

// ListAccountKeys implements meta.Accounts.
func (s *Store) ListAccountKeys(ctx context.Context, t tenant.ID, slug string) ([]meta.AccountKey, error) {
	if _, err := s.FindAccount(ctx, t, slug); err != nil {
		return nil, err
	}
	return collect(ctx, s, scanAccountKey, listAccountKeys, t, slug)
}

const insertAccountKey = `
INSERT INTO account_keys (tenant_id, account_id, name, hash, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (tenant_id, account_id, name) DO NOTHING`

// CreateAccountKey implements meta.Accounts.
func (s *Store) CreateAccountKey(ctx context.Context, by meta.Cause, id tenant.ID, slug string, k meta.AccountKey) (meta.AccountKey, error) {
	err := s.writeFor(ctx, id, func(t *tx) error {
		if err := t.change(by, id, "key.create", keyTarget(slug, k.Name)); err != nil {
			return err
		}
		account, err := t.account(id, slug, 0)
		if err != nil {
			return err
		}
		n, err := t.exec(insertAccountKey, id, account, k.Name, k.Hash[:], t.now, micros(k.ExpiresAt))
		if err == nil && n == 0 {
			return fault.New(fault.Conflict, fault.AlreadyExists, "service account %q has a key %q already", slug, k.Name)
		}
		if err != nil {
			return err
		}
		return t.within(s.opts.Limits.KeyLimit(), countAccountKeys, id, account)
	})
	if err != nil {
		return meta.AccountKey{}, err
	}
	return s.findAccountKey(ctx, id, slug, k.Name)
}

const findAccountKey = `
SELECT k.name, k.hash, k.created_at, k.expires_at
FROM accounts a JOIN account_keys k ON k.tenant_id = a.tenant_id AND k.account_id = a.id
WHERE a.tenant_id = ?1 AND a.slug = ?2 AND k.name = ?3`

func (s *Store) findAccountKey(ctx context.Context, t tenant.ID, slug, name string) (meta.AccountKey, error) {
	found, err := collect(ctx, s, scanAccountKey, findAccountKey, t, slug, name)
	return only(found, err, noKey(slug, name))
}

const deleteAccountKey = `DELETE FROM account_keys WHERE tenant_id = ?1 AND account_id = ?2 AND name = ?3`

// DeleteAccountKey implements meta.Accounts.
func (s *Store) DeleteAccountKey(ctx context.Context, by meta.Cause, id tenant.ID, slug, name string) error {
	return s.writeFor(ctx, id, func(t *tx) error {
		if err := t.change(by, id, "key.delete", keyTarget(slug, name)); err != nil {
			return err
		}
		account, err := t.account(id, slug, 0)
		if err != nil {
			return err
		}
		n, err := t.exec(deleteAccountKey, id, account, name)
		if err == nil && n == 0 {
			return noKey(slug, name)
		}
		return err
	})
}

// findAccountByKey begins at the hash: whether the account exists plays no part
// in what it costs (contract row B10).
const findAccountByKey = `
SELECT ` + accountColumns + `
FROM account_keys k
JOIN accounts a ON a.tenant_id = k.tenant_id AND a.id = k.account_id
JOIN tenants t ON t.id = a.tenant_id
WHERE k.hash = ?3 AND (?1 = 0 OR a.tenant_id = ?1) AND (?2 = '' OR a.slug = ?2)
  AND a.disabled = 0 AND t.state = 'active' AND (k.expires_at IS NULL OR k.expires_at > ?4)`

// FindAccountByKey implements meta.Accounts. Of a suspended tenant no key is
// good.
func (s *Store) FindAccountByKey(ctx context.Context, t tenant.ID, slug string, hash [32]byte) (meta.Account, error) {
	found, err := collect(ctx, s, scanAccount, findAccountByKey, t, slug, hash[:], s.opts.Now().UnixMicro())
	return only(found, err, fault.New(fault.NotFound, fault.ResourceUnknown, "no service account has this key"))
}

func keyTarget(slug, name string) string { return accountTarget(slug) + "/keys/" + name }

func noKey(slug, name string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "service account %q has no key %q", slug, name)
}
