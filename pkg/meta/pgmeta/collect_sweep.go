package pgmeta

import "context"

// Both are full scans and lock nothing. The links of a repository that is being
// deleted go with it.
const (
	unmarkedLinks = `
SELECT rb.tenant_id, rb.repo_id, rb.digest FROM repo_blobs rb
 WHERE rb.keep_until IS NULL
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)
   AND NOT (rb.trashed AND EXISTS (SELECT 1 FROM trashed_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest))
   AND NOT EXISTS (SELECT 1 FROM repositories r WHERE r.tenant_id = rb.tenant_id AND r.id = rb.repo_id AND r.state = 'deleting')`

	unmarkedBlobs = `
SELECT b.tenant_id, 0::bigint, b.digest FROM blobs b
 WHERE b.keep_until IS NULL
   AND NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = b.tenant_id AND rb.digest = b.digest)`
)

// Each locks one row and decides again, in statements of their own.
const (
	lockUnmarkedBlob = `SELECT 1 FROM blobs WHERE tenant_id = $1 AND digest = $2 FOR NO KEY UPDATE`
	lockUnmarkedLink = `SELECT 1 FROM repo_blobs WHERE tenant_id = $1 AND repo_id = $2 AND digest = $3 FOR NO KEY UPDATE`

	markLink = `
UPDATE repo_blobs SET keep_until = berth_now() + $4::interval
 WHERE tenant_id = $1 AND repo_id = $2 AND digest = $3 AND keep_until IS NULL
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = $3)
   AND NOT (trashed AND EXISTS (SELECT 1 FROM trashed_blobs m WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = $3))`

	markBlob = `
UPDATE blobs SET keep_until = berth_now() + $3::interval
 WHERE tenant_id = $1 AND digest = $2 AND keep_until IS NULL
   AND NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = $1 AND rb.digest = $2)`
)

// SweepUnmarked implements meta.Collector. A HEAD may just have promised an
// unmarked blob to a client, so marked blobs stay for Lifetimes.HeadGrace.
func (s *Store) SweepUnmarked(ctx context.Context) (int, error) {
	var found []link
	read := func(scan scan) error {
		l, err := scanLink(scan)
		found = append(found, l)
		return err
	}
	for _, scan := range []string{unmarkedLinks, unmarkedBlobs} {
		if err := s.walk(ctx, scan, nil, read); err != nil {
			return 0, err
		}
	}
	marked := 0
	for _, l := range found { // none, or there is a defect
		var n int64
		err := s.write(ctx, noTenant, func(t *tx) error {
			d := l.digest.Bytes()
			if l.repo != 0 {
				t.queue(lockUnmarkedLink, l.tenant, l.repo, d)
				t.queue(markLink, l.tenant, l.repo, d, s.life.HeadGrace).Exec(counted(&n))
			} else {
				t.queue(lockUnmarkedBlob, l.tenant, d)
				t.queue(markBlob, l.tenant, d, s.life.HeadGrace).Exec(counted(&n))
			}
			return nil
		})
		if err != nil {
			return marked, err
		}
		marked += int(n)
	}
	return marked, nil
}
