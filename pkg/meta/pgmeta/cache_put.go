package pgmeta

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
)

const (
	// It locks nothing once the repository is listed, and comes before the locks of
	// all that is in it.
	showFetched = `
UPDATE repositories SET listed = true WHERE tenant_id = $1 AND registry_id = $2 AND name = $3 AND state = 'active' AND NOT listed`

	insertCachedManifest = `
INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, subject, artifact_type, annotations, created_at, payload, refs, expire_at)
SELECT r.tenant_id, r.id, $4, $5, $6, $7, $8, $9, berth_now(), $10, $11, berth_now() + $12::interval
  FROM open_repositories r
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
ON CONFLICT (tenant_id, repo_id, digest) DO UPDATE SET expire_at = excluded.expire_at
RETURNING xmax = 0`
)

// PutCached implements meta.Cache, in two batches as PutManifest. Children that
// are there are locked, so that none expires while the index comes in; nothing
// is held: bytes that go missing are fetched again.
func (s *Store) PutCached(ctx context.Context, p meta.CachedPut) error {
	op := uuid.New()
	return s.write(ctx, p.Repo.Tenant, func(t *tx) error {
		fetched := newPut(t, meta.ManifestPut{Repo: p.Repo, Manifest: p.Manifest, Parsed: p.Parsed, AllowMissingReferences: true}, nil)
		tag := cachedTag{tx: t, repo: p.Repo, name: p.Tag, op: op}
		err := t.ensureRepository(p.Repo, func() (bool, error) { return fetched.lockFetched(p.Keep, &tag) })
		if err != nil {
			return err
		}
		if _, there := fetched.present[p.Manifest.Digest]; !there {
			return sqlmeta.ErrRestart // the cache was given up after the repository was locked
		}
		fetched.link()
		if p.Tag != "" {
			tag.move(fetched.repo.id, p.Manifest.Digest)
		}
		if t.grew || fetched.inserted || p.Tag != "" && !tag.found {
			t.withinQuota(p.Repo.Tenant, true)
		}
		return nil
	})
}

// lockFetched is the first batch of what was not pushed but fetched.
func (p *putting) lockFetched(keep time.Duration, tag *cachedTag) (bool, error) {
	p.reset()
	p.repo = p.lockRepository(p.Repo)
	p.queue(showFetched, p.Repo.Tenant, p.Repo.Registry, p.Repo.Name)
	p.lockManifests(insertCachedManifest, keep)
	if tag.name != "" {
		tag.lock()
	}
	err := p.flush()
	return p.repo.isCached(), err
}
