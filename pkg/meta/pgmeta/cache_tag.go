package pgmeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

const findCachedTag = `
SELECT m.digest, m.media_type, m.payload, c.checked_at, c.doubted
  FROM registries g
  JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id AND r.name = $3 AND r.state = 'active'
  JOIN cache_tags c ON c.tenant_id = r.tenant_id AND c.repo_id = r.id AND c.name = $4
  JOIN manifests m ON m.tenant_id = c.tenant_id AND m.repo_id = c.repo_id AND m.digest = c.manifest
 WHERE g.tenant_id = $1 AND g.id = $2 AND g.state = 'active' AND g.upstream_id IS NOT NULL`

// FindCachedTag implements meta.Cache.
func (s *Store) FindCachedTag(ctx context.Context, r meta.Repo, tag string) (meta.CachedTag, error) {
	var c meta.CachedTag
	found, err := s.find(ctx, r.Tenant, findCachedTag, []any{r.Tenant, r.Registry, r.Name, tag},
		digestScanner{&c.Manifest.Digest}, &c.Manifest.MediaType, &c.Manifest.Payload, timeScanner{&c.CheckedAt}, &c.Doubted)
	if err == nil && !found {
		err = manifestUnknown(tag)
	}
	return c, err
}

const (
	// The repository is locked. A tag that was not seen, because the registry has
	// closed since, would be moved without a word of what it was.
	lockCachedTag = `
SELECT c.manifest, c.previous, coalesce(c.told_at > berth_now() - $5::interval, false)
  FROM repositories r
  JOIN cache_tags c ON c.tenant_id = r.tenant_id AND c.repo_id = r.id AND c.name = $4
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'
   FOR NO KEY UPDATE OF c`

	// A tag that was made since it was looked for has no manifest before its present
	// one.
	moveCachedTag = `
INSERT INTO cache_tags (tenant_id, repo_id, name, manifest, checked_at) VALUES ($1, $2, $3, $4, berth_now())
ON CONFLICT (tenant_id, repo_id, name) DO UPDATE SET
  previous = CASE WHEN cache_tags.manifest = excluded.manifest THEN cache_tags.previous ELSE cache_tags.manifest END,
  manifest = excluded.manifest, checked_at = greatest(cache_tags.checked_at, excluded.checked_at), doubted = false,
  told_at = CASE WHEN $5 THEN berth_now() ELSE cache_tags.told_at END`
)

// cachedTag is a change of a tag to what an upstream said.
type cachedTag struct {
	*tx
	repo             meta.Repo
	name             string
	op               uuid.UUID // of the event, if there is one
	found, told      bool      // told: the audit log told of it not long ago
	manifest, before oci.Digest
}

// lock queues the first half.
func (c *cachedTag) lock() {
	r := c.repo
	c.queue(lockCachedTag, r.Tenant, r.Registry, r.Name, c.name, meta.TellAgain).QueryRow(first(&c.found, digestScanner{&c.manifest}, digestScanner{&c.before}, &c.told))
}

// move queues the second half: the tag is d, checked now. Going back to the
// manifest before may be an attack, so the audit log tells of it.
func (c *cachedTag) move(repo int64, d oci.Digest) {
	tell := c.found && c.manifest != d && c.before == d && !c.told
	if tell {
		c.upstreamEvent(c.op, c.repo, "cache.tag_rollback", suffix([]string{c.name}, d))
	}
	c.queue(moveCachedTag, c.repo.Tenant, repo, c.name, d.Bytes(), tell)
}

const lockCachedManifest = `
SELECT 1
  FROM open_repositories r
  JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = $4
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
   FOR KEY SHARE OF m`

// ConfirmCachedTag implements meta.Cache.
func (s *Store) ConfirmCachedTag(ctx context.Context, r meta.Repo, tag string, d oci.Digest) error {
	op := uuid.New()
	return s.write(ctx, r.Tenant, func(t *tx) error {
		var there bool
		var one int
		c := cachedTag{tx: t, repo: r, name: tag, op: op}
		repo := t.lockRepository(r)
		t.queue(lockCachedManifest, r.Tenant, r.Registry, r.Name, d.Bytes()).QueryRow(first(&there, &one))
		c.lock()
		if err := t.flush(); err != nil {
			return err
		}
		switch {
		case !repo.isCached():
			return nameUnknown(r)
		case !there:
			return manifestUnknown(d.String())
		}
		c.move(repo.id, d)
		return nil
	})
}

const dropCachedTag = `DELETE FROM cache_tags WHERE tenant_id = $1 AND repo_id = $2 AND name = $3`

// DropCachedTag implements meta.Cache.
func (s *Store) DropCachedTag(ctx context.Context, r meta.Repo, tag string) error {
	return s.write(ctx, r.Tenant, func(t *tx) error {
		repo := t.lockRepository(r)
		if err := t.flush(); err != nil || !repo.isCached() {
			return err
		}
		t.queue(dropCachedTag, r.Tenant, repo.id, tag)
		return nil
	})
}
