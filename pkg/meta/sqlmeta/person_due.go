package sqlmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

const (
	// How many rows there are is a constant, so that the planner knows that they are few. It could
	// read whole tables for EXISTS.
	duePeople = `
SELECT due.tenant_id, due.account_id,
       (SELECT a.slug FROM accounts a WHERE a.tenant_id = due.tenant_id AND a.id = due.account_id),
       (SELECT a.disabled FROM accounts a WHERE a.tenant_id = due.tenant_id AND a.id = due.account_id),
       due.provider_id, due.subject, due.read_at, due.refresh_token, due.refresh_tried_at, due.due_at,
       due.seen_at > berth_now() - CAST($3 AS interval)
    OR coalesce((SELECT TRUE FROM account_keys k WHERE k.tenant_id = due.tenant_id AND k.account_id = due.account_id LIMIT 1), FALSE)
    OR coalesce((SELECT TRUE FROM person_tokens x WHERE x.provider_id = due.provider_id AND x.subject = due.subject LIMIT 1), FALSE)
    OR coalesce((SELECT TRUE FROM refresh_tokens r WHERE r.tenant_id = due.tenant_id AND r.account_id = due.account_id LIMIT 1), FALSE)
    OR coalesce((SELECT TRUE FROM sessions s WHERE s.tenant_id = due.tenant_id AND s.account_id = due.account_id LIMIT 1), FALSE)
FROM (SELECT i.* FROM account_identities i WHERE i.due_at <= berth_now() - CAST($1 AS interval) ORDER BY i.due_at LIMIT 200) due
ORDER BY due.due_at LIMIT $2`

	restPerson = `UPDATE account_identities SET due_at = NULL WHERE tenant_id = $1 AND account_id = $2 AND provider_id = $3`

	postponePeople = `
UPDATE account_identities SET due_at = berth_now() + CAST($2 AS interval) WHERE provider_id = $1 AND due_at <= berth_now()`
)

// DuePeople implements meta.People.
func (s *Records) DuePeople(ctx context.Context, since time.Duration, limit int) ([]meta.Person, error) {
	return list(ctx, s, noTenant, func(scan Scan) (meta.Person, error) {
		p := meta.Person{Account: meta.Account{Kind: access.UserKind}}
		err := scan(&p.Tenant, &p.ID, &p.Slug, &p.Disabled, &p.Provider, &p.Subject, timeScanner{&p.ReadAt}, &p.Refresh, timeScanner{&p.RefreshTriedAt}, timeScanner{&p.DueAt}, &p.Active)
		return p, err
	}, duePeople, s.engine.Interval(since), limit, s.engine.Interval(meta.PersonSeen))
}

// PostponePerson implements meta.People.
func (s *Records) PostponePerson(ctx context.Context, p meta.Person) error {
	return s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		err := lockProvider(t, p)
		if fault.Is(err, fault.ResourceUnknown) {
			err = endReading(t, p)
		}
		if err != nil {
			return err
		}
		return t.Queue(restPerson, p.Tenant, p.ID, p.Provider)
	})
}

// PostponePeople implements meta.People.
func (s *Records) PostponePeople(ctx context.Context, provider int64, by time.Duration) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error { return t.Queue(postponePeople, provider, t.Interval(by)) })
}
