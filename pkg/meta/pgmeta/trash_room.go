package pgmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// endForRoom ends the restore time of the oldest trash of a tenant, so that what can
// still be restored fits into the quota beside what is live, and returns how much, and the
// bytes of what could be restored before. A deleted repository is trash as a whole, with
// an empty digest. A blob goes with the youngest trash that holds
// it. What has ended the janitor removes.
const endForRoom = `
WITH ranked AS MATERIALIZED (
  SELECT due.repo_id, due.digest, due.cost, row_number() OVER (ORDER BY due.until DESC, due.repo_id, due.digest) AS rank
    FROM (SELECT m.repo_id, m.digest, m.restore_until AS until, 1024 + m.size + 512 * m.refs AS cost
            FROM trashed_manifests m
           WHERE m.tenant_id = $1 AND m.restore_until > berth_now()
           UNION ALL
          SELECT r.id, ''::bytea, r.expire_at,
                 2048 + (SELECT coalesce(sum(1024 + m.size + 512 * coalesce(m.refs, 0)), 0) FROM manifests m WHERE m.tenant_id = $1 AND m.repo_id = r.id)
               + 512 * (SELECT count(*) FROM tags g WHERE g.tenant_id = $1 AND g.repo_id = r.id)
            FROM repositories r
           WHERE r.tenant_id = $1 AND r.state <> 'active' AND r.expire_at > berth_now() AND r.state = 'deleted') AS due
), held AS (
  SELECT b.digest, min(k.rank) AS rank
    FROM ranked k
   CROSS JOIN LATERAL (
          SELECT mb.digest FROM trashed_blobs mb
           WHERE mb.tenant_id = $1 AND mb.repo_id = k.repo_id AND mb.manifest = k.digest
           UNION ALL
          SELECT rb.digest FROM repo_blobs rb
           WHERE rb.tenant_id = $1 AND rb.repo_id = k.repo_id AND k.digest = '' OFFSET 0) AS b
   GROUP BY b.digest
), costs (rank, bytes) AS (
  SELECT k.rank, k.cost FROM ranked k
  UNION ALL
  SELECT h.rank, b.size + 512
    FROM held h
   CROSS JOIN LATERAL (
          SELECT blobs.size FROM blobs
           WHERE blobs.tenant_id = $1 AND blobs.digest = h.digest AND NOT blobs.cached AND (blobs.trash OR NOT berth_is_live($1, h.digest)) OFFSET 0) AS b
), stays AS (
  SELECT c.rank, sum(sum(c.bytes)) OVER (ORDER BY c.rank) AS bytes FROM costs c GROUP BY c.rank
), oldest AS MATERIALIZED (
  SELECT k.repo_id, k.digest
    FROM ranked k
   WHERE k.rank >= (SELECT min(s.rank) FROM stays s
                     WHERE s.bytes > (SELECT u.lim - (u.used + u.overhead - u.cached - u.trash - berth_deleted($1)) FROM usage u WHERE u.tenant_id = $1 AND u.lim > 0))
   ORDER BY k.rank DESC LIMIT $2
), deleted AS (
  SELECT locked.id
    FROM (SELECT o.repo_id FROM oldest o WHERE o.digest = '' ORDER BY o.repo_id OFFSET 0) AS wanted
   CROSS JOIN LATERAL (
          SELECT r.id FROM repositories r
           WHERE r.tenant_id = $1 AND r.id = wanted.repo_id AND r.state = 'deleted'
          OFFSET 0
             FOR NO KEY UPDATE SKIP LOCKED) AS locked
), ended AS (
  UPDATE repositories r SET expire_at = berth_now() FROM deleted WHERE r.tenant_id = $1 AND r.id = deleted.id RETURNING 1
), doomed AS (
  SELECT locked.repo_id, locked.digest
    FROM (SELECT o.repo_id, o.digest FROM oldest o WHERE o.digest <> '' ORDER BY o.repo_id, o.digest OFFSET 0) AS wanted
   CROSS JOIN LATERAL (
          SELECT m.repo_id, m.digest FROM trashed_manifests m
           WHERE m.tenant_id = $1 AND m.repo_id = wanted.repo_id AND m.digest = wanted.digest
          OFFSET 0
             FOR NO KEY UPDATE SKIP LOCKED) AS locked
), gone AS (
  UPDATE trashed_manifests m SET restore_until = berth_now()
    FROM doomed WHERE m.tenant_id = $1 AND m.repo_id = doomed.repo_id AND m.digest = doomed.digest
  RETURNING 1
)
SELECT (SELECT count(*) FROM ended) + (SELECT count(*) FROM gone), (SELECT coalesce(max(s.bytes), 0) FROM stays s)::bigint`

// roomTime is how long a push makes room after its COMMIT. The janitor does the rest.
const (
	roomTime  = time.Second
	roomBatch = 1000
)

// makeRoom follows a push by which the tenant has more than its quota, with its trash.
// It is not reported: the push is acknowledged.
func (s *Store) makeRoom(ctx context.Context, id tenant.ID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roomTime)
	defer cancel()
	look := func() (sqlmeta.Room, error) {
		var r sqlmeta.Room
		_, err := s.find(ctx, id, sqlmeta.FindRoom, []any{id}, r.Dest()...)
		return r, err
	}
	_ = s.rooms.Make(id, look, func() (int, int64, error) {
		all := 0
		for {
			n, restorable, err := s.endForRoom(ctx, id)
			all += n
			if err != nil || n < roomBatch || s.quiet.Load() {
				return all, restorable, err
			}
		}
	})
}

func (s *Store) endForRoom(ctx context.Context, id tenant.ID) (int, int64, error) {
	var n, restorable int64
	err := s.write(ctx, id, func(t *tx) error {
		_, err := t.find(endForRoom, []any{id, roomBatch}, &n, &restorable)
		return err
	})
	return int(n), restorable, err
}

const crowdedTenants = `
SELECT u.tenant_id FROM usage u
 WHERE u.lim > 0 AND u.used + u.overhead - u.cached > u.lim
   AND (u.trash > 0 OR EXISTS (SELECT 1 FROM repositories r WHERE r.tenant_id = u.tenant_id AND r.state = 'deleted'))`

// endCrowded is makeRoom by the janitor.
func (s *Store) endCrowded(ctx context.Context) (int, error) {
	tenants, err := collect(ctx, s, noTenant, scanTenant, crowdedTenants)
	work := 0
	for _, id := range tenants {
		var n int
		if err == nil {
			n, _, err = s.endForRoom(ctx, id)
		}
		work += n
	}
	return work, err
}

func scanTenant(scan scan) (tenant.ID, error) {
	var id tenant.ID
	err := scan(&id)
	return id, err
}
