package sqlitemeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// These run on the read pool: they read all the trash of a tenant, and must not block
// writes.
const (
	crowdedTenants = `
SELECT tenant_id FROM usage WHERE lim > 0 AND trash > 0 AND used + overhead - cached > lim`

	// The oldest trash of a tenant, until what can still be restored fits into the
	// quota beside what is live. A blob goes with the youngest trash that holds it.
	oldestTrash = `
WITH ranked AS MATERIALIZED (
  SELECT m.repo_id, m.digest, m.restore_until, 1024 + m.size + 512 * m.refs AS cost, row_number() OVER (ORDER BY m.restore_until DESC, m.repo_id, m.digest) AS rank
    FROM trashed_manifests m
   WHERE m.tenant_id = ?1 AND m.restore_until > ?2
), blobs_by_rank AS (
  SELECT mb.digest, min(due.rank) AS rank
    FROM ranked due CROSS JOIN trashed_blobs mb ON mb.tenant_id = ?1 AND mb.repo_id = due.repo_id AND mb.manifest = due.digest
   GROUP BY mb.digest
), costs (rank, bytes) AS (
  SELECT due.rank, due.cost FROM ranked due
  UNION ALL
  SELECT held.rank, b.size + 512 FROM blobs_by_rank held CROSS JOIN blobs b ON b.tenant_id = ?1 AND b.digest = held.digest AND b.trash = 1
), stays AS (
  SELECT counted.rank, sum(sum(counted.bytes)) OVER (ORDER BY counted.rank) AS bytes FROM costs counted GROUP BY counted.rank
)
SELECT due.repo_id, due.digest, due.restore_until
  FROM ranked due
 WHERE due.rank >= (SELECT min(s.rank) FROM stays s
                     WHERE s.bytes > (SELECT u.lim - (u.used + u.overhead - u.cached - u.trash) FROM usage u WHERE u.tenant_id = ?1 AND u.lim > 0))
 ORDER BY due.rank DESC`
)

// It may have been restored and deleted again since.
const endRestoreTime = `
UPDATE trashed_manifests SET restore_until = ?5 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3 AND restore_until = ?4`

// roomTime is how long a push makes room after its COMMIT. The janitor does the rest.
const roomTime = time.Second

// makeRoom follows a push by which the tenant has more than its quota, with its trash.
// It is not reported: the push is acknowledged.
func (s *Store) makeRoom(ctx context.Context, id tenant.ID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roomTime)
	defer cancel()
	_, _ = s.endOldest(ctx, id)
}

// oldTrash is trash whose restore time ends early.
type oldTrash struct {
	link
	until int64
}

// endOldest ends the restore time of the oldest trash of a tenant, as much as has to
// make room. What has ended the janitor removes.
func (s *Store) endOldest(ctx context.Context, id tenant.ID) (int, error) {
	oldest, err := collect(ctx, s, func(scan scan) (oldTrash, error) {
		one := oldTrash{link: link{tenant: id}}
		err := scan(&one.repo, digestScanner{&one.digest}, &one.until)
		return one, err
	}, oldestTrash, id, s.opts.Now().UnixMicro())
	ended := 0
	for err == nil && ended < len(oldest) && !s.stopping() {
		err = s.step(ctx, id, func(t *tx) error {
			for ended < len(oldest) {
				m := oldest[ended]
				if _, err := t.exec(endRestoreTime, id, m.repo, m.digest.Bytes(), m.until, min(t.now, m.until)); err != nil {
					return err
				}
				if ended++; t.spent() {
					break
				}
			}
			return nil
		})
	}
	return ended, err
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
			n, err = s.endOldest(ctx, id)
		}
		work += n
	}
	return work, err
}
