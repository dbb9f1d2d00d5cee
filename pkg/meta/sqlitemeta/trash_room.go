package sqlitemeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// These run on the read pool: they read all the trash of a tenant, and must not block
// writes.
const (
	crowdedTenants = `
SELECT u.tenant_id FROM usage u
 WHERE u.lim > 0 AND u.used + u.overhead - u.cached > u.lim
   AND (u.trash > 0 OR EXISTS (SELECT 1 FROM repositories r WHERE r.tenant_id = u.tenant_id AND r.state = 'deleted'))`

	// The oldest trash of a tenant, until what can still be restored fits into the
	// quota beside what is live. A deleted repository is trash as a whole, without a
	// digest. A blob goes with the youngest trash that holds it. The last row has the
	// bytes of what can be restored now.
	oldestTrash = `
WITH ranked AS MATERIALIZED (
  SELECT due.repo_id, due.digest, due.until, due.cost, row_number() OVER (ORDER BY due.until DESC, due.repo_id, due.digest) AS rank
    FROM (SELECT m.repo_id, m.digest, m.restore_until AS until, 1024 + m.size + 512 * m.refs AS cost
            FROM trashed_manifests m
           WHERE m.tenant_id = ?1 AND m.restore_until > ?2
           UNION ALL
          SELECT r.id, NULL, r.expire_at,
                 2048 + (SELECT coalesce(sum(1024 + m.size + 512 * coalesce(m.refs, 0)), 0) FROM manifests m WHERE m.tenant_id = ?1 AND m.repo_id = r.id)
               + 512 * (SELECT count(*) FROM tags g WHERE g.tenant_id = ?1 AND g.repo_id = r.id)
            FROM repositories r
           WHERE r.tenant_id = ?1 AND r.state <> 'active' AND r.expire_at IS NOT NULL AND r.expire_at > ?2 AND r.state = 'deleted') AS due
), blobs_by_rank AS (
  SELECT held.digest, min(held.rank) AS rank
    FROM (SELECT mb.digest, due.rank
            FROM ranked due CROSS JOIN trashed_blobs mb ON mb.tenant_id = ?1 AND mb.repo_id = due.repo_id AND mb.manifest = due.digest
           UNION ALL
          SELECT rb.digest, due.rank
            FROM ranked due CROSS JOIN repo_blobs rb ON rb.tenant_id = ?1 AND rb.repo_id = due.repo_id
           WHERE due.digest IS NULL) AS held
   GROUP BY held.digest
), costs (rank, bytes) AS (
  SELECT due.rank, due.cost FROM ranked due
  UNION ALL
  SELECT held.rank, b.size + 512
    FROM blobs_by_rank held
   CROSS JOIN blobs b ON b.tenant_id = ?1 AND b.digest = held.digest AND b.cached = 0
   WHERE b.trash = 1 OR NOT EXISTS (SELECT 1 FROM repo_blobs h
          CROSS JOIN repositories r ON r.tenant_id = h.tenant_id AND r.id = h.repo_id AND r.state = 'active'
          CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.upstream_id IS NULL
          WHERE h.tenant_id = ?1 AND h.digest = held.digest AND h.trashed = 0)
), stays AS MATERIALIZED (
  SELECT counted.rank, sum(sum(counted.bytes)) OVER (ORDER BY counted.rank) AS bytes FROM costs counted GROUP BY counted.rank
)
SELECT due.repo_id, due.digest, due.until, due.rank, 0
  FROM ranked due
 WHERE due.rank >= (SELECT min(s.rank) FROM stays s
                     WHERE s.bytes > (SELECT u.lim - (u.used + u.overhead - u.cached - u.trash - ?3) FROM usage u WHERE u.tenant_id = ?1 AND u.lim > 0))
 UNION ALL
SELECT 0, NULL, 0, 0, coalesce(max(s.bytes), 0) FROM stays s
 ORDER BY 4 DESC`
)

// It may have been restored and deleted again since.
const endRestoreTime = `
UPDATE trashed_manifests SET restore_until = ?5 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3 AND restore_until = ?4`

const endDeleted = `
UPDATE repositories SET expire_at = ?4 WHERE tenant_id = ?1 AND id = ?2 AND state = 'deleted' AND expire_at = ?3`

// roomTime is how long a push makes room after its COMMIT. The janitor does the rest.
const roomTime = time.Second

// makeRoom follows a push by which the tenant has more than its quota, with its trash.
// It is not reported: the push is acknowledged.
func (s *Store) makeRoom(ctx context.Context, id tenant.ID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roomTime)
	defer cancel()
	look := func() (sqlmeta.Room, error) {
		var r sqlmeta.Room
		_, err := s.find(ctx, sqlmeta.FindRoom, []any{id}, r.Dest()...)
		return r, err
	}
	_ = s.rooms.Make(id, look, func() (int, int64, error) { return s.endOldest(ctx, id) })
}

// oldTrash is trash whose restore time ends early. Without a digest it is a repository.
type oldTrash struct {
	link
	until int64
}

// endOldest ends the restore time of the oldest trash of a tenant, as much as has to
// make room. It returns how much, and the bytes of what could be restored before. What has
// ended the janitor removes.
func (s *Store) endOldest(ctx context.Context, id tenant.ID) (int, int64, error) {
	var deleted, restorable int64
	if _, err := s.find(ctx, deletedBytes, []any{id}, &deleted); err != nil {
		return 0, 0, err
	}
	oldest, err := collect(ctx, s, func(scan scan) (oldTrash, error) {
		one := oldTrash{link: link{tenant: id}}
		var rank int64
		err := scan(&one.repo, digestScanner{&one.digest}, &one.until, &rank, &restorable)
		return one, err
	}, oldestTrash, id, s.opts.Now().UnixMicro(), deleted)
	oldest = oldest[:max(len(oldest)-1, 0)] // without the row of restorable
	ended := 0
	for err == nil && ended < len(oldest) && !s.stopping() {
		err = s.step(ctx, id, func(t *tx) error {
			for ended < len(oldest) {
				if err := t.end(oldest[ended]); err != nil {
					return err
				}
				if ended++; t.spent() {
					break
				}
			}
			return nil
		})
	}
	return ended, restorable, err
}

// end ends the restore time of one.
func (t *tx) end(m oldTrash) error {
	now := min(t.now, m.until)
	if m.digest == "" {
		_, err := t.exec(endDeleted, m.tenant, m.repo, m.until, now)
		return err
	}
	_, err := t.exec(endRestoreTime, m.tenant, m.repo, m.digest.Bytes(), m.until, now)
	return err
}

// endCrowded is makeRoom by the janitor.
func (s *Store) endCrowded(ctx context.Context) (int, error) {
	tenants, err := collect(ctx, s, func(scan scan) (tenant.ID, error) {
		var id tenant.ID
		err := scan(&id)
		return id, err
	}, crowdedTenants)
	work := 0
	for _, id := range tenants {
		var n int
		if err == nil {
			n, _, err = s.endOldest(ctx, id)
		}
		work += n
	}
	return work, err
}
