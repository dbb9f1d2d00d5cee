package sqlmeta

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	personColumns = accountColumns + `, provider_id, subject, login_name, directory_groups, groups_until, read_at, ended_at, refresh_token, refresh_tried_at, apart`

	findPerson = `
SELECT ` + accountColumns + `, coalesce(i.provider_id, 0), coalesce(i.subject, ''), coalesce(i.login_name, ''), coalesce(i.directory_groups, '[]'),
       i.groups_until, i.read_at, i.ended_at, i.refresh_token, i.refresh_tried_at, coalesce(i.apart, '')
FROM accounts a LEFT JOIN account_identities i ON i.tenant_id = a.tenant_id AND i.account_id = a.id
WHERE a.tenant_id = $1 AND a.slug = $2`

	findNamesakes = `
SELECT a.slug, coalesce(i.provider_id, 0), coalesce(i.login_name, ''), coalesce(i.apart, '')
FROM accounts a LEFT JOIN account_identities i ON i.tenant_id = a.tenant_id AND i.account_id = a.id
WHERE a.tenant_id = $1 AND a.slug = $2
UNION ALL
SELECT a.slug, i.provider_id, i.login_name, i.apart
FROM account_identities i JOIN accounts a ON a.tenant_id = i.tenant_id AND a.id = i.account_id
WHERE i.tenant_id = $1 AND i.login_key = $2`

	findPersonBySubject = `
SELECT ` + personColumns + `
FROM account_identities i JOIN accounts a ON a.tenant_id = i.tenant_id AND a.id = i.account_id
WHERE i.tenant_id = $1 AND i.provider_id = $2 AND i.subject = $3`

	personOfSubject = `SELECT account_id FROM account_identities WHERE tenant_id = $1 AND provider_id = $2 AND subject = $3`

	slugIsTaken = `SELECT 1 FROM accounts WHERE tenant_id = $1 AND slug = $2`

	insertPerson = `
INSERT INTO account_identities (tenant_id, account_id, provider_id, subject, login_name, login_key, directory_groups, groups_until, read_at, seen_at, due_at, refresh_token)
VALUES ($1, $2, $3, $4, $5, $9, $6, berth_now() + CAST($7 AS interval), berth_now(), berth_now(), berth_now() + CAST($8 AS interval), $10)`
)

// personDest is where personColumns are scanned to.
func personDest(p *meta.Person) []any {
	return append(accountDest(&p.Account), &p.Provider, &p.Subject, &p.LoginName, jsonScanner{&p.Groups},
		timeScanner{&p.GroupsUntil}, timeScanner{&p.ReadAt}, timeScanner{&p.EndedAt}, &p.Refresh, timeScanner{&p.RefreshTriedAt}, &p.Apart)
}

func scanPerson(scan Scan) (meta.Person, error) {
	var p meta.Person
	err := scan(personDest(&p)...)
	return p, err
}

// FindPerson implements meta.People.
func (s *Records) FindPerson(ctx context.Context, t tenant.ID, slug string) (meta.Person, error) {
	missing := fault.New(fault.NotFound, fault.ResourceUnknown, "there is no account %q", slug)
	return find(ctx, s, t, missing, scanPerson, findPerson, t, slug)
}

// FindNamesakes implements meta.People.
func (s *Records) FindNamesakes(ctx context.Context, t tenant.ID, folded string) ([]meta.Namesake, error) {
	return list(ctx, s, t, func(scan Scan) (meta.Namesake, error) {
		var n meta.Namesake
		err := scan(&n.Slug, &n.Provider, &n.LoginName, &n.Apart)
		return n, err
	}, findNamesakes, t, folded)
}

// FindPersonBySubject implements meta.People.
func (s *Records) FindPersonBySubject(ctx context.Context, t tenant.ID, provider int64, subject string) (meta.Person, error) {
	missing := fault.New(fault.NotFound, fault.ResourceUnknown, "the person has not logged in here yet")
	return find(ctx, s, t, missing, scanPerson, findPersonBySubject, t, provider, subject)
}

// CreatePerson implements meta.People.
func (s *Records) CreatePerson(ctx context.Context, by meta.Cause, p meta.Person, slugs []string, r meta.PersonReading) (meta.Person, error) {
	err := s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		if err := lockProvider(t, p); err != nil {
			return err
		}
		slug, err := freeSlug(t, p.Tenant, slugs)
		if err != nil {
			return err
		}
		if err := beginAlone(t, by, p.Tenant, "user.create", access.UserKind.PrincipalName(slug)); err != nil {
			return err
		}
		var account int64 // since no other login of the tenant makes one from here on
		if found, err := t.Find(personOfSubject, []any{p.Tenant, p.Provider, p.Subject}, &account); err != nil || found {
			return cmp.Or(err, ErrAlreadyDone)
		}
		t.OnViolation("accounts_by_slug", ErrRestart)
		if err := t.Queue(insertAccount, p.Tenant, access.UserKind, slug, p.DisplayName, access.Member, false, nil); err != nil {
			return err
		}
		row, err := lockedAccount(t, p.Tenant, access.UserKind, slug, 0)
		if err != nil {
			return err
		}
		groups, err := encodedGroups(r)
		if err != nil {
			return err
		}
		if err := t.Queue(insertPerson, p.Tenant, row.id, p.Provider, p.Subject, r.LoginName, groups, t.Interval(r.Hold), t.Interval(r.Next), meta.FoldName(r.LoginName), r.Refresh); err != nil {
			return err
		}
		return checkLimit(t, s.accountLimit(access.UserKind), countAccounts, p.Tenant, access.UserKind)
	})
	if err != nil {
		return meta.Person{}, err
	}
	return s.FindPersonBySubject(ctx, p.Tenant, p.Provider, p.Subject)
}

// freeSlug is the first of the slugs that no account of the tenant has.
func freeSlug(t Tx, id tenant.ID, slugs []string) (string, error) {
	for _, slug := range slugs {
		var one int64
		taken, err := t.Find(slugIsTaken, []any{id, slug}, &one)
		if err != nil || !taken {
			return slug, err
		}
	}
	return "", fault.New(fault.Conflict, fault.AlreadyExists, "accounts with the IDs %q exist already; this person needs one of them", slugs)
}

func encodedGroups(r meta.PersonReading) (string, error) {
	groups, err := json.Marshal(append([]string{}, r.Groups...)) // never null
	return string(groups), err
}
