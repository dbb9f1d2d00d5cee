package pgmeta

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
)

// ReapUploads implements meta.Collector. What another transaction has locked is
// left for the next call.
func (s *Store) ReapUploads(ctx context.Context, limit int) (int, error) {
	work := 0
	err := s.write(ctx, noTenant, func(t *tx) error {
		var ended, left, staged keys
		t.queue(dueUploads, limit).Query(each(func(scan scan) error {
			var k, object, tail blob.Key
			var state meta.UploadState
			if err := scan(&k.Tenant, uuidScanner{&k.Incarnation}, &state, uuidScanner{&object.Incarnation}, uuidScanner{&tail.Incarnation}); err != nil {
				return err
			}
			if state == meta.UploadCommitted || state == meta.UploadExpired {
				ended.add(k)
				return nil
			}
			object.Tenant, tail.Tenant = k.Tenant, k.Tenant
			left.add(k)
			staged.add(object)
			staged.add(tail)
			return nil
		}))
		if err := t.flush(); err != nil {
			return err
		}
		if left.len() > 0 {
			t.queue(expireUploads, left.tenants, left.ids, s.life.Committed)
			t.queue(condemnAllStaged, staged.tenants, staged.ids, s.life.StagedDelay)
		}
		if ended.len() > 0 {
			t.queue(forgetUploads, ended.tenants, ended.ids)
		}
		orphans, err := t.exec(condemnOrphans, 2*s.life.UploadTTL, s.life.StagedDelay, limit)
		work = left.len() + ended.len() + int(orphans)
		return err
	})
	return work, err
}

// keys are rows of several tenants, as they go into a statement.
type keys struct {
	tenants []int64
	ids     []pgtype.UUID
}

// add leaves out what has no id.
func (k *keys) add(one blob.Key) {
	if one.Incarnation != uuid.Nil {
		k.tenants = append(k.tenants, one.Tenant)
		k.ids = append(k.ids, pgUUID(one.Incarnation))
	}
}

func (k *keys) len() int { return len(k.tenants) }

const dueUploads = `
SELECT tenant_id, id, state, incarnation, tail FROM uploads
 WHERE expires_at < berth_now() ORDER BY expires_at LIMIT $1
   FOR UPDATE SKIP LOCKED`

const expireUploads = `
UPDATE uploads u SET state = 'expired', epoch = u.epoch + 1, expires_at = berth_now() + $3::interval
  FROM unnest($1::bigint[], $2::uuid[]) AS due (tenant_id, id)
 WHERE u.tenant_id = due.tenant_id AND u.id = due.id`

const forgetUploads = `
DELETE FROM uploads u USING unnest($1::bigint[], $2::uuid[]) AS due (tenant_id, id)
 WHERE u.tenant_id = due.tenant_id AND u.id = due.id`

const condemnAllStaged = `
WITH locked AS (
  SELECT o.tenant_id, o.incarnation
    FROM unnest($1::bigint[], $2::uuid[]) AS due (tenant_id, incarnation)
    JOIN objects o ON o.tenant_id = due.tenant_id AND o.incarnation = due.incarnation AND o.state::text = 'S'
   ORDER BY o.tenant_id, o.incarnation FOR UPDATE OF o
)
UPDATE objects o SET state = 'D', delete_after = berth_now() + $3::interval
  FROM locked WHERE o.tenant_id = locked.tenant_id AND o.incarnation = locked.incarnation`

// Staged objects without a session: tails that were intended and never recorded.
// Their sessions would have ended long ago.
const condemnOrphans = `
WITH orphans AS (
  SELECT o.tenant_id, o.incarnation FROM objects o
   WHERE o.state = 'S' AND o.created_at < berth_now() - $1::interval
     AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.tenant_id = o.tenant_id AND u.incarnation = o.incarnation AND u.state IN ('open', 'sealed'))
     AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.tenant_id = o.tenant_id AND u.tail = o.incarnation AND u.state IN ('open', 'sealed'))
   ORDER BY o.created_at LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE objects o SET state = 'D', delete_after = berth_now() + $2::interval
  FROM orphans WHERE o.tenant_id = orphans.tenant_id AND o.incarnation = orphans.incarnation`
