package sqlmeta

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

const (
	findReading = `
SELECT directory_groups, groups_until > berth_now(), read_at FROM account_identities WHERE tenant_id = $1 AND account_id = $2 AND ended_at IS NULL`

	recordReading = `
UPDATE account_identities SET login_name = $3, login_key = $9, directory_groups = $4, read_at = berth_now(), groups_until = berth_now() + CAST($5 AS interval),
       due_at = CASE WHEN $7 AND due_at < berth_now() + CAST($6 AS interval) THEN due_at ELSE berth_now() + CAST($6 AS interval) END,
       seen_at = CASE WHEN $7 THEN berth_now() ELSE seen_at END,
       refresh_token = CASE WHEN $7 THEN $10 ELSE refresh_token END,
       refresh_tried_at = CASE WHEN $7 THEN NULL ELSE refresh_tried_at END
 WHERE tenant_id = $1 AND account_id = $2 AND ended_at IS NULL AND read_at = $8`

	recordApart = `UPDATE account_identities SET apart = $3 WHERE tenant_id = $1 AND account_id = $2`

	switchAccount = `UPDATE accounts SET disabled = $3, version = version + 1, updated_at = berth_now() WHERE tenant_id = $1 AND id = $2`

	endPerson = `
UPDATE account_identities SET ended_at = berth_now(), due_at = NULL, groups_until = berth_now(), directory_groups = '[]', refresh_token = NULL, refresh_tried_at = NULL
 WHERE tenant_id = $1 AND account_id = $2`

	personHasEnded = `SELECT 1 FROM account_identities WHERE tenant_id = $1 AND account_id = $2 AND ended_at IS NOT NULL`

	// An administrator decides: a login does not undo that.
	resumePerson = `UPDATE account_identities SET ended_at = NULL, due_at = berth_now() WHERE tenant_id = $1 AND account_id = $2`

	// What was read before counts no more.
	forgetReading = `
UPDATE account_identities SET groups_until = berth_now(), read_at = berth_now(), due_at = berth_now()
 WHERE tenant_id = $1 AND account_id = $2 AND ended_at IS NULL`

	// What has a new secret is read again.
	wakePerson = `
UPDATE account_identities SET due_at = berth_now() WHERE tenant_id = $1 AND account_id = $2 AND due_at IS NULL AND ended_at IS NULL`
)

// RecordPerson implements meta.People.
func (s *Records) RecordPerson(ctx context.Context, by meta.Cause, p meta.Person, r meta.PersonReading) error {
	return s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		if err := lockProvider(t, p); err != nil {
			return err
		}
		var had []string
		var count bool
		var readAt time.Time
		found, err := t.Find(findReading, []any{p.Tenant, p.ID}, jsonScanner{&had}, &count, timeScanner{&readAt})
		if err != nil || !found || !readAt.Equal(p.ReadAt) {
			return err
		}
		if !slices.Equal(had, r.Groups) {
			by.Changes = []meta.Change{groupsChange(had, r.Groups)}
			if err := beginAlone(t, by, p.Tenant, "user.groups", p.Account.Principal().Name); err != nil {
				return err
			}
		}
		groups, err := encodedGroups(r)
		if err != nil {
			return err
		}
		if !count || !slices.Equal(had, r.Groups) { // tenants are locked before people
			if err := t.Queue(raiseAccessVersion, p.Tenant); err != nil {
				return err
			}
		}
		changed, err := t.Exec(recordReading, p.Tenant, p.ID, r.LoginName, groups, t.Interval(r.Hold), t.Interval(r.Next), r.Login, t.Time(p.ReadAt), meta.FoldName(r.LoginName), r.Refresh)
		if err == nil && changed == 0 {
			return ErrRestart // something newer was recorded meanwhile
		}
		return err
	})
}

// RecordApart implements meta.People.
func (s *Records) RecordApart(ctx context.Context, p meta.Person, apart string) error {
	return s.engine.Write(ctx, p.Tenant, func(t Tx) error { return t.Queue(recordApart, p.Tenant, p.ID, apart) })
}

// groupsChange says which groups a person left and joined.
func groupsChange(had, has []string) meta.Change {
	lacking := func(from, in []string) string {
		const longest = 256
		names := strings.Join(slices.DeleteFunc(slices.Clone(from), func(g string) bool { return slices.Contains(in, g) }), ", ")
		if len(names) > longest {
			names = strings.ToValidUTF8(names[:longest], "") + "…"
		}
		return names
	}
	return meta.Change{Field: "groups", Old: lacking(had, has), New: lacking(has, had)}
}

// ReturnPerson implements meta.People.
func (s *Records) ReturnPerson(ctx context.Context, by meta.Cause, p meta.Person) error {
	return s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		if err := lockProvider(t, p); err != nil {
			return err
		}
		by.Changes = []meta.Change{{Field: "disabled", Old: "true", New: "false"}}
		if err := begin(t, by, p.Tenant, "user.update", p.Account.Principal().Name); err != nil {
			return err
		}
		r, err := lockedAccount(t, p.Tenant, access.UserKind, p.Slug, 0)
		if err != nil {
			return err
		}
		var one int64
		ended, err := t.Find(personHasEnded, []any{p.Tenant, r.id}, &one)
		switch {
		case err != nil:
			return err
		case !ended:
			return fault.New(fault.NotFound, fault.ResourceUnknown, "an administrator disabled the account")
		}
		if err := t.Queue(resumePerson, p.Tenant, r.id); err != nil {
			return err
		}
		return t.Queue(switchAccount, p.Tenant, r.id, false)
	})
}

// EndPerson implements meta.People.
func (s *Records) EndPerson(ctx context.Context, by meta.Cause, p meta.Person) error {
	return s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		var r accountRow
		if found, err := r.find(t, findAccountRow, p.Tenant, access.UserKind, p.Slug); err != nil || !found {
			return err
		}
		if r.disabled { // by an administrator, or before
			return t.Queue(restPerson, p.Tenant, r.id, p.Provider)
		}
		by.Changes = []meta.Change{{Field: "disabled", Old: "false", New: "true"}}
		if err := begin(t, by, p.Tenant, "user.end", p.Account.Principal().Name); err != nil {
			return err
		}
		r, err := lockedAccount(t, p.Tenant, access.UserKind, p.Slug, 0)
		if err != nil {
			return err
		}
		for _, statement := range []string{endPerson, deleteRefreshes, deleteSessions} {
			if err := t.Queue(statement, p.Tenant, r.id); err != nil {
				return err
			}
		}
		if err := t.Queue(switchAccount, p.Tenant, r.id, true); err != nil {
			return err
		}
		if err := t.Queue(deletePersonKeys, p.Provider, p.Subject); err != nil {
			return err
		}
		return revoke(t, p.Tenant, r, allKeys)
	})
}
