package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	accountColumns = `a.id, a.tenant_id, a.kind, a.slug, a.display_name, a.role, a.disabled, a.password, a.epoch, a.version, a.created_at, a.updated_at`
	selectAccount  = `SELECT ` + accountColumns + ` FROM accounts a WHERE a.tenant_id = $1 AND a.kind = $2`
	findAccount    = selectAccount + ` AND a.slug = $3`
	listAccounts   = selectAccount + ` AND a.slug > $3 ORDER BY a.slug LIMIT $4`

	insertAccount = `
INSERT INTO accounts (tenant_id, kind, slug, display_name, role, disabled, password, version, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, 1, berth_now(), berth_now())`

	findAccountRow = `SELECT id, version, epoch, role, disabled, password FROM accounts WHERE tenant_id = $1 AND kind = $2 AND slug = $3`
	lockAccountRow = findAccountRow + ` FOR UPDATE`

	updateAccount = `
UPDATE accounts SET display_name = $3, role = $4, disabled = $5, password = $6, version = version + 1, updated_at = berth_now() WHERE tenant_id = $1 AND id = $2`

	deleteAccount = `DELETE FROM accounts WHERE tenant_id = $1 AND id = $2`
)

func scanAccount(scan Scan) (meta.Account, error) {
	var a meta.Account
	err := scan(accountDest(&a)...)
	return a, err
}

// accountDest is where accountColumns are scanned to.
func accountDest(a *meta.Account) []any {
	return []any{
		&a.ID, &a.Tenant, &a.Kind, &a.Slug, &a.DisplayName, &a.Role, &a.Disabled,
		textScanner{&a.Password},
		&a.Epoch, &a.Version,
		timeScanner{&a.CreatedAt},
		timeScanner{&a.UpdatedAt},
	}
}

// FindAccount implements meta.Accounts.
func (s *Records) FindAccount(ctx context.Context, t tenant.ID, k access.Kind, slug string) (meta.Account, error) {
	return find(ctx, s, t, noAccount(k, slug), scanAccount, findAccount, t, k, slug)
}

// ListAccounts implements meta.Accounts.
func (s *Records) ListAccounts(ctx context.Context, t tenant.ID, k access.Kind, p meta.Page) ([]meta.Account, error) {
	return list(ctx, s, t, scanAccount, listAccounts, t, k, p.After, p.Size)
}

// CreateAccount implements meta.Accounts.
func (s *Records) CreateAccount(ctx context.Context, by meta.Cause, a meta.Account) (meta.Account, error) {
	err := s.engine.Write(ctx, a.Tenant, func(t Tx) error {
		if err := beginAlone(t, by, a.Tenant, eventOf(a.Kind, "serviceAccount.create", "user.create"), a.Kind.PrincipalName(a.Slug)); err != nil {
			return err
		}
		t.OnViolation("accounts_by_slug", fault.New(fault.Conflict, fault.AlreadyExists,
			"an account %q exists already; service accounts and users share their IDs, since they log in by them", a.Slug))
		if err := t.Queue(insertAccount, a.Tenant, a.Kind, a.Slug, a.DisplayName, a.Role, a.Disabled, textOrNull(a.Password)); err != nil {
			return err
		}
		return checkLimit(t, s.accountLimit(a.Kind), countAccounts, a.Tenant, a.Kind)
	})
	if err != nil {
		return meta.Account{}, err
	}
	return s.FindAccount(ctx, a.Tenant, a.Kind, a.Slug)
}

func (s *Records) accountLimit(k access.Kind) meta.Limit {
	if k == access.UserKind {
		return s.limits.UserLimit()
	}
	return s.limits.AccountLimit()
}

// eventOf picks the verb of an event of an account of this kind.
func eventOf(k access.Kind, service, user string) string {
	if k == access.UserKind {
		return user
	}
	return service
}

// accountRow is what changes of an account start from.
type accountRow struct {
	id, version, epoch int64
	role               access.Role
	disabled           bool
	password           string
}

// find reads the row by a statement; false without one.
func (r *accountRow) find(t Tx, query string, id tenant.ID, k access.Kind, slug string) (bool, error) {
	return t.Find(query, []any{id, k, slug}, &r.id, &r.version, &r.epoch, &r.role, &r.disabled, textScanner{&r.password})
}

// lockedAccount locks an account and checks its version.
func lockedAccount(t Tx, id tenant.ID, k access.Kind, slug string, version int64) (accountRow, error) {
	var r accountRow
	found, err := r.find(t, t.Pick(findAccountRow, lockAccountRow), id, k, slug)
	switch {
	case err != nil:
		return r, err
	case !found:
		return r, noAccount(k, slug)
	default:
		return r, checkVersion(r.version, version)
	}
}

// UpdateAccount implements meta.Accounts.
func (s *Records) UpdateAccount(ctx context.Context, by meta.Cause, a meta.Account) (meta.Account, error) {
	err := s.engine.Write(ctx, a.Tenant, func(t Tx) error {
		if err := begin(t, by, a.Tenant, eventOf(a.Kind, "serviceAccount.update", "user.update"), a.Kind.PrincipalName(a.Slug)); err != nil {
			return err
		}
		r, err := lockedAccount(t, a.Tenant, a.Kind, a.Slug, a.Version)
		if err != nil {
			return err
		}
		if err := checkSame(r.id, a.ID, noAccount(a.Kind, a.Slug)); err != nil {
			return err
		}
		if r.role != a.Role || a.Disabled && !r.disabled || r.password != a.Password {
			if err := revoke(t, a.Tenant, r, allKeys); err != nil {
				return err
			}
			if err := endRefreshTokens(t, a, r); err != nil {
				return err
			}
			if err := endSessions(t, by, a, r); err != nil {
				return err
			}
		}
		if a.Disabled != r.disabled {
			if err := t.Queue(resumePerson, a.Tenant, r.id); err != nil {
				return err
			}
		}
		return t.Queue(updateAccount, a.Tenant, r.id, a.DisplayName, a.Role, a.Disabled, textOrNull(a.Password))
	})
	if err != nil {
		return meta.Account{}, err
	}
	return s.FindAccount(ctx, a.Tenant, a.Kind, a.Slug)
}

// DeleteAccount implements meta.Accounts. Its keys go with it.
func (s *Records) DeleteAccount(ctx context.Context, by meta.Cause, id tenant.ID, k access.Kind, slug string, version int64) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		if err := beginAlone(t, by, id, eventOf(k, "serviceAccount.delete", "user.delete"), k.PrincipalName(slug)); err != nil {
			return err
		}
		r, err := lockedAccount(t, id, k, slug, version)
		if err != nil {
			return err
		}
		if err := checkNoRuleNames(t, id, rulePrincipals, k.PrincipalName(slug)); err != nil {
			return err
		}
		if err := leaveGroups(t, id, k.PrincipalName(slug)); err != nil {
			return err
		}
		if err := revoke(t, id, r, allKeys); err != nil {
			return err
		}
		if err := t.Queue(deleteSessions, id, r.id); err != nil {
			return err
		}
		return t.Queue(deleteAccount, id, r.id)
	})
}

func noAccount(k access.Kind, slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no %s %q", k.Noun(), slug)
}
