package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	accountColumns = `a.id, a.tenant_id, a.slug, a.display_name, a.role, a.disabled, a.version, a.created_at, a.updated_at`
	selectAccount  = `SELECT ` + accountColumns + ` FROM accounts a WHERE a.tenant_id = $1`
	findAccount    = selectAccount + ` AND a.slug = $2`
	listAccounts   = selectAccount + ` AND a.slug > $2 ORDER BY a.slug LIMIT $3`

	insertAccount = `
INSERT INTO accounts (tenant_id, slug, display_name, role, disabled, version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, 1, berth_now(), berth_now())`

	findAccountID = `SELECT id, version FROM accounts WHERE tenant_id = $1 AND slug = $2`
	lockAccount   = findAccountID + ` FOR UPDATE`

	updateAccount = `
UPDATE accounts SET display_name = $3, role = $4, disabled = $5, version = version + 1, updated_at = berth_now() WHERE tenant_id = $1 AND id = $2`

	deleteAccount = `DELETE FROM accounts WHERE tenant_id = $1 AND id = $2`
)

func scanAccount(scan Scan) (meta.Account, error) {
	var a meta.Account
	err := scan(&a.ID, &a.Tenant, &a.Slug, &a.DisplayName, &a.Role, &a.Disabled, &a.Version, timeScanner{&a.CreatedAt}, timeScanner{&a.UpdatedAt})
	return a, err
}

// FindAccount implements meta.Accounts.
func (s *Records) FindAccount(ctx context.Context, t tenant.ID, slug string) (meta.Account, error) {
	return find(ctx, s, t, noAccount(slug), scanAccount, findAccount, t, slug)
}

// ListAccounts implements meta.Accounts.
func (s *Records) ListAccounts(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Account, error) {
	return list(ctx, s, t, scanAccount, listAccounts, t, p.After, p.Size)
}

// CreateAccount implements meta.Accounts.
func (s *Records) CreateAccount(ctx context.Context, by meta.Cause, a meta.Account) (meta.Account, error) {
	err := s.engine.Write(ctx, a.Tenant, func(t Tx) error {
		if err := beginAlone(t, by, a.Tenant, "serviceAccount.create", accountTarget(a.Slug)); err != nil {
			return err
		}
		t.OnViolation("accounts_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "service account %q exists already", a.Slug))
		if err := t.Queue(insertAccount, a.Tenant, a.Slug, a.DisplayName, a.Role, a.Disabled); err != nil {
			return err
		}
		return checkLimit(t, s.limits.AccountLimit(), countAccounts, a.Tenant)
	})
	if err != nil {
		return meta.Account{}, err
	}
	return s.FindAccount(ctx, a.Tenant, a.Slug)
}

// accountID locks an account, checks its version and returns its id.
func accountID(t Tx, id tenant.ID, slug string, version int64) (int64, error) {
	var account, have int64
	found, err := t.Find(t.Pick(findAccountID, lockAccount), []any{id, slug}, &account, &have)
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
func (s *Records) UpdateAccount(ctx context.Context, by meta.Cause, a meta.Account) (meta.Account, error) {
	err := s.engine.Write(ctx, a.Tenant, func(t Tx) error {
		if err := begin(t, by, a.Tenant, "serviceAccount.update", accountTarget(a.Slug)); err != nil {
			return err
		}
		id, err := accountID(t, a.Tenant, a.Slug, a.Version)
		if err != nil {
			return err
		}
		return t.Queue(updateAccount, a.Tenant, id, a.DisplayName, a.Role, a.Disabled)
	})
	if err != nil {
		return meta.Account{}, err
	}
	return s.FindAccount(ctx, a.Tenant, a.Slug)
}

// DeleteAccount implements meta.Accounts. Its keys go with it.
func (s *Records) DeleteAccount(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.engine.Write(ctx, id, func(t Tx) error {
		if err := beginAlone(t, by, id, "serviceAccount.delete", accountTarget(slug)); err != nil {
			return err
		}
		account, err := accountID(t, id, slug, version)
		if err != nil {
			return err
		}
		if err := checkNoRuleNames(t, id, rulePrincipals, accountTarget(slug)); err != nil {
			return err
		}
		return t.Queue(deleteAccount, id, account)
	})
}

func accountTarget(slug string) string { return "serviceAccounts/" + slug }

func noAccount(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no service account %q", slug)
}
