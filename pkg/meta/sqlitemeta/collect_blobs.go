package sqlitemeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// link is a row of repo_blobs, or of blobs where repo is 0.
type link struct {
	tenant tenant.ID
	repo   int64
	digest oci.Digest
}

func (t *tx) links(query string, args ...any) ([]link, error) {
	var links []link
	err := t.list(query, args, func(scan scan) error {
		l, err := scanLink(scan)
		links = append(links, l)
		return err
	})
	return links, err
}

func scanLink(scan scan) (link, error) {
	var l link
	err := scan(&l.tenant, &l.repo, digestScanner{&l.digest})
	return l, err
}

const linkCandidates = `
SELECT tenant_id, repo_id, digest FROM repo_blobs WHERE keep_until < ?1 ORDER BY keep_until LIMIT ?2`

const unlinkUnnamed = `
DELETE FROM repo_blobs
 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = ?1 AND m.repo_id = ?2 AND m.digest = ?3)
   AND NOT EXISTS (SELECT 1 FROM trashed_blobs m WHERE m.tenant_id = ?1 AND m.repo_id = ?2 AND m.digest = ?3)`

// What only the trash names is trashed, whatever it was: a push may have come to nothing.
const linkIsNamed = `
UPDATE repo_blobs SET keep_until = NULL,
       trashed = NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = ?1 AND m.repo_id = ?2 AND m.digest = ?3)
 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3`

// UnlinkBlobs implements meta.Collector: phase B.
func (s *Store) UnlinkBlobs(ctx context.Context, limit int) (int, error) {
	work := 0
	err := s.step(ctx, deployment, func(t *tx) error {
		candidates, err := t.links(linkCandidates, t.now, limit)
		if err != nil {
			return err
		}
		for _, l := range candidates {
			n, err := t.exec(unlinkUnnamed, l.tenant, l.repo, l.digest.Bytes())
			if err != nil {
				return err
			}
			if n > 0 {
				_, err = t.exec(releaseBlob, l.tenant, l.digest.Bytes(), t.now)
			} else {
				_, err = t.exec(linkIsNamed, l.tenant, l.repo, l.digest.Bytes())
			}
			if err != nil {
				return err
			}
			if work++; t.spent() {
				break
			}
		}
		return nil
	})
	return work, err
}

const blobCandidates = `
SELECT tenant_id, 0, digest FROM blobs WHERE keep_until < ?1 ORDER BY keep_until LIMIT ?2`

const dropUnlinked = `
DELETE FROM blobs
 WHERE tenant_id = ?1 AND digest = ?2
   AND NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = ?1 AND rb.digest = ?2)
RETURNING incarnation, size, hosted`

const blobIsLinked = `UPDATE blobs SET keep_until = NULL WHERE tenant_id = ?1 AND digest = ?2`

const dischargeUsage = `UPDATE usage SET used = used - ?2 WHERE tenant_id = ?1`

// DropBlobs implements meta.Collector: phase C.
func (s *Store) DropBlobs(ctx context.Context, limit int) (int, error) {
	work := 0
	err := s.step(ctx, deployment, func(t *tx) error {
		candidates, err := t.links(blobCandidates, t.now, limit)
		if err != nil {
			return err
		}
		for _, l := range candidates {
			if err := t.drop(l, s.life); err != nil {
				return err
			}
			if work++; t.spent() {
				break
			}
		}
		return nil
	})
	return work, err
}

// drop condemns the object of a blob that nothing links. Content that was never
// hosted does not wait for the restore window: after a restore it is fetched again.
func (t *tx) drop(l link, life meta.Lifetimes) error {
	var incarnation uuid.UUID
	var size int64
	var hosted bool
	dropped, err := t.find(dropUnlinked, []any{l.tenant, l.digest.Bytes()}, &incarnation, &size, &hosted)
	if err != nil {
		return err
	}
	if !dropped {
		_, err := t.exec(blobIsLinked, l.tenant, l.digest.Bytes())
		return err
	}
	delay := life.DeleteDelay
	if !hosted {
		delay = life.Evicted
	}
	if err := t.condemnLive(l.tenant, l.digest, incarnation, t.after(delay), !hosted); err != nil {
		return err
	}
	_, err = t.exec(dischargeUsage, l.tenant, size)
	return err
}
