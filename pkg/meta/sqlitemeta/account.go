package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	accountColumns = `a.id, a.tenant_id, a.slug, a.display_name, a.role, a.disabled, a.version, a.created_at, a.updated_at`
	selectAccount  = `SELECT ` + accountColumns + ` FROM accounts a WHERE a.tenant_id = ?1`
)

func scanAccount(scan scan) (meta.Account, error) {
	var a meta.Account
	err := scan(&a.ID, &a.Tenant, &a.Slug, &a.DisplayName, &a.Role, &a.Disabled, &a.Version, moment{&a.CreatedAt}, moment{&a.UpdatedAt})
	return a, err
}

const (
	findAccount  = selectAccount + ` AND a.slug = ?2`
	listAccounts = selectAccount + ` AND a.slug > ?2 ORDER BY a.slug LIMIT ?3`
)

// FindAccount implements meta.Accounts.
func (s *Store) FindAccount(ctx context.Context, t tenant.ID, slug string) (meta.Account, error) {
	found, err := collect(ctx, s, scanAccount, findAccount, t, slug)
	return only(found, err, noAccount(slug))
}

// ListAccounts implements meta.Accounts.
func (s *Store) ListAccounts(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Account, error) {
	return collect(ctx, s, scanAccount, listAccounts, t, p.After, p.Size)
}

const insertAccount = `
INSERT INTO accounts (tenant_id, slug, display_name, role, disabled, version, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?6)`

// CreateAccount implements meta.Accounts.
func (s *Store) CreateAccount(ctx context.Context, by meta.Cause, a meta.Account) (meta.Account, error) {
	err := s.writeFor(ctx, a.Tenant, func(t *tx) error {
		if err := t.change(by, a.Tenant, "serviceAccount.create", accountTarget(a.Slug)); err != nil {
			return err
		}
		_, err := t.exec(insertAccount, a.Tenant, a.Slug, a.DisplayName, a.Role, a.Disabled, t.now)
		if violatesUnique(err) {
			return fault.Wrap(err, fault.Conflict, fault.AlreadyExists, "service account %q exists already", a.Slug)
		}
		if err != nil {
			return err
		}
		return t.within(s.opts.Limits.AccountLimit(), countAccounts, a.Tenant)
	})
	if err != nil {
		return meta.Account{}, err
	}
	return s.FindAccount(ctx, a.Tenant, a.Slug)
}

const (
	findAccountID = `SELECT id, version FROM accounts WHERE tenant_id = ?1 AND slug = ?2`
	updateAccount = `
UPDATE accounts SET display_name = ?3, role = ?4, disabled = ?5, version = version + 1, updated_at = ?6 WHERE tenant_id = ?1 AND id = ?2`
	deleteAccount = `DELETE FROM accounts WHERE tenant_id = ?1 AND id = ?2`
)

// account finds the id of an account in the version that was asked for.
func (t *tx) account(id tenant.ID, slug string, version int64) (int64, error) {
	var account, have int64
	found, err := t.find(findAccountID, []any{id, slug}, &account, &have)
	switch {
	case err != nil:
		return 0, err
	case !found:
		return 0, noAccount(slug)
	default:
		return account, checkVersion(have, version)
	}
}

// UpdateAccount implements meta.Accounts.
func (s *Store) UpdateAccount(ctx context.Context, by meta.Cause, change meta.Account) (meta.Account, error) {
	err := s.writeFor(ctx, change.Tenant, func(t *tx) error {
		if err := t.change(by, change.Tenant, "serviceAccount.update", accountTarget(change.Slug)); err != nil {
			return err
		}
		id, err := t.account(change.Tenant, change.Slug, change.Version)
		if err != nil {
			return err
		}
		_, err = t.exec(updateAccount, change.Tenant, id, change.DisplayName, change.Role, change.Disabled, t.now)
		return err
	})
	if err != nil {
		return meta.Account{}, err
	}
	return s.FindAccount(ctx, change.Tenant, change.Slug)
}

// DeleteAccount implements meta.Accounts. Its keys go with it.
func (s *Store) DeleteAccount(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.writeFor(ctx, id, func(t *tx) error {
		if err := t.change(by, id, "serviceAccount.delete", accountTarget(slug)); err != nil {
			return err
		}
		account, err := t.account(id, slug, version)
		if err != nil {
			return err
		}
		_, err = t.exec(deleteAccount, id, account)
		return err
	})
}

func accountTarget(slug string) string { return "serviceAccounts/" + slug }

func noAccount(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no service account %q", slug)
}
