package sqlitemeta

import "context"

// Both are full scans: they run on the read pool, so as not to block writes.
const (
	unmarkedLinks = `
SELECT rb.tenant_id, rb.repo_id, rb.digest FROM repo_blobs rb
 WHERE rb.keep_until IS NULL
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)
   AND NOT (rb.trashed = 1 AND EXISTS (SELECT 1 FROM trashed_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest))`

	unmarkedBlobs = `
SELECT b.tenant_id, 0, b.digest FROM blobs b
 WHERE b.keep_until IS NULL
   AND NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = b.tenant_id AND rb.digest = b.digest)`
)

// Each decides again about one row.
const (
	markLink = `
UPDATE repo_blobs SET keep_until = ?4
 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3 AND keep_until IS NULL
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = ?1 AND m.repo_id = ?2 AND m.digest = ?3)
   AND NOT (trashed = 1 AND EXISTS (SELECT 1 FROM trashed_blobs m WHERE m.tenant_id = ?1 AND m.repo_id = ?2 AND m.digest = ?3))`

	markBlob = `
UPDATE blobs SET keep_until = ?3
 WHERE tenant_id = ?1 AND digest = ?2 AND keep_until IS NULL
   AND NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = ?1 AND rb.digest = ?2)`
)

// SweepUnmarked implements meta.Collector. A HEAD may just have promised an
// unmarked blob to a client, so marked blobs stay for Lifetimes.HeadGrace.
func (s *Store) SweepUnmarked(ctx context.Context) (int, error) {
	links, err := collect(ctx, s, scanLink, unmarkedLinks)
	if err != nil {
		return 0, err
	}
	blobs, err := collect(ctx, s, scanLink, unmarkedBlobs)
	if err != nil || len(links)+len(blobs) == 0 {
		return 0, err
	}
	marked := 0
	for found := append(links, blobs...); len(found) > 0 && err == nil; {
		err = s.step(ctx, deployment, func(t *tx) error {
			for len(found) > 0 {
				n, err := t.mark(found[0], t.after(s.life.HeadGrace))
				if err != nil {
					return err
				}
				marked, found = marked+n, found[1:]
				if t.spent() {
					break
				}
			}
			return nil
		})
	}
	return marked, err
}

func (t *tx) mark(l link, keep int64) (int, error) {
	if l.repo == 0 {
		n, err := t.exec(markBlob, l.tenant, l.digest.Bytes(), keep)
		return int(n), err
	}
	n, err := t.exec(markLink, l.tenant, l.repo, l.digest.Bytes(), keep)
	return int(n), err
}
