package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// contentVerbs are the verbs of pushes, deletions and pulls, and refusalVerbs those
// of refusals. All others are administration. The index events_beside_content has
// the first list.
const (
	contentVerbs = `('blob.push', 'blob.mount', 'blob.delete', 'manifest.put', 'manifest.promote', 'manifest.delete', 'tag.delete', 'repository.delete', 'cache.tag_rollback')`
	refusalVerbs = `('login.fail', 'call.deny')`

	isContent        = ` AND verb IN ` + contentVerbs
	isRefusal        = ` AND verb NOT IN ` + contentVerbs + ` AND verb IN ` + refusalVerbs
	isAdministration = ` AND verb NOT IN ` + contentVerbs + ` AND verb NOT IN ` + refusalVerbs

	ofTenant = ` FROM events WHERE tenant_id = $1`
	newest   = ` ORDER BY id DESC LIMIT 1 OFFSET $2`
	oldest   = ` AND id <= $2`
	inOrder  = ` ORDER BY id LIMIT $3`
)

const (
	tenantsFrom = `SELECT id FROM tenants WHERE id > $1 ORDER BY id LIMIT $2`

	// The newest event that is beyond a number of them: of all, of those up to an event,
	// and of a kind.
	eventBeyond          = `SELECT id` + ofTenant + newest
	olderBeyond          = `SELECT id` + ofTenant + ` AND id <= $3` + newest
	refusalBeyond        = `SELECT id` + ofTenant + isRefusal + newest
	administrationBeyond = `SELECT id` + ofTenant + isAdministration + newest

	countBesideContent = `SELECT count(*)` + ofTenant + ` AND verb NOT IN ` + contentVerbs

	// The oldest of a kind, up to that one.
	contentToTrim        = `SELECT id` + ofTenant + isContent + oldest + inOrder
	refusalsToTrim       = `SELECT id` + ofTenant + isRefusal + oldest + inOrder
	administrationToTrim = `SELECT id` + ofTenant + isAdministration + oldest + inOrder

	oldEvents = `
SELECT id FROM (SELECT id, at FROM events WHERE tenant_id = $1 ORDER BY id LIMIT $3) AS oldest
 WHERE $2::interval > interval '0' AND at < berth_now() - $2::interval ORDER BY id`

	trimEvents = `DELETE FROM events WHERE tenant_id = $1 AND id = ANY ($2::bigint[])`
)

// TrimEvents implements meta.Collector.
func (s *Store) TrimEvents(ctx context.Context, limit int) (int, error) {
	trimmed, err := s.trimEvents(ctx, meta.Deployment, limit)
	if err != nil || trimmed >= limit {
		return trimmed, err
	}
	for after := tenant.ID(0); ; {
		ids, err := collect(ctx, s, noTenant, scanTenantID, tenantsFrom, after, pageOfTenants)
		if err != nil || len(ids) == 0 {
			return trimmed, err
		}
		for _, id := range ids {
			after = id
			n, err := s.trimEvents(ctx, id, limit-trimmed)
			trimmed += n
			if err != nil || trimmed >= limit {
				return trimmed, err
			}
		}
	}
}

// pageOfTenants is how many tenants are read at a time.
const pageOfTenants = 1000

func scanTenantID(scan scan) (tenant.ID, error) {
	var id tenant.ID
	err := scan(&id)
	return id, err
}

func scanEventID(scan scan) (int64, error) {
	var id int64
	err := scan(&id)
	return id, err
}

func (s *Store) trimEvents(ctx context.Context, id tenant.ID, limit int) (int, error) {
	due, err := collect(ctx, s, noTenant, scanEventID, oldEvents, id, s.life.Events, limit)
	if err != nil {
		return 0, err
	}
	trimmed, err := s.deleteEvents(ctx, id, due)
	if err != nil || len(due) >= limit {
		return trimmed, err
	}
	due, err = s.tooMany(ctx, id, limit-len(due))
	if err != nil {
		return trimmed, err
	}
	n, err := s.deleteEvents(ctx, id, due)
	return trimmed + n, err
}

func (s *Store) deleteEvents(ctx context.Context, id tenant.ID, due []int64) (int, error) {
	if len(due) == 0 {
		return 0, nil
	}
	var n int64
	err := s.write(ctx, noTenant, func(t *tx) error {
		var err error
		n, err = t.exec(trimEvents, id, due)
		return err
	})
	return int(n), err
}

// tooMany are the oldest events of a tenant beyond the limit of their kind. If all
// events together are within the limit, so is every kind.
func (s *Store) tooMany(ctx context.Context, id tenant.ID, limit int) ([]int64, error) {
	most := s.opts.Limits.Events
	if most < 0 {
		return nil, nil
	}
	var beyond int64
	if found, err := s.find(ctx, noTenant, eventBeyond, []any{id, most}, &beyond); err != nil || !found {
		return nil, err
	}
	// What is beside content may all be newer than the content that stays: so much
	// more of it does.
	var beside int
	if _, err := s.find(ctx, noTenant, countBesideContent, []any{id}, &beside); err != nil {
		return nil, err
	}
	var due []int64
	for _, kind := range []struct {
		beyond string
		args   []any
		trim   string
	}{
		// Counted on from the one that was found: counting a million twice takes twice as long.
		{olderBeyond, []any{id, beside, beyond}, contentToTrim},
		{refusalBeyond, []any{id, most}, refusalsToTrim},
		{administrationBeyond, []any{id, meta.AdministrationKept * most}, administrationToTrim},
	} {
		found, err := s.find(ctx, noTenant, kind.beyond, kind.args, &beyond)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		more, err := collect(ctx, s, noTenant, scanEventID, kind.trim, id, beyond, limit-len(due))
		if err != nil {
			return nil, err
		}
		if due = append(due, more...); len(due) >= limit {
			break
		}
	}
	return due, nil
}
