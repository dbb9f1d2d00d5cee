package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// limited is a cache registry that has a limit, in bytes, with those that are kept for it.
type limited struct {
	tenant tenant.ID
	cache  tenant.RegistryID
	bytes  int64
}

func scanLimited(scan scan) (limited, error) {
	var l limited
	err := scan(&l.tenant, &l.cache, &l.bytes)
	return l, err
}

// These run on the read pool: they read whole caches, and must not block writes.
const (
	limitedCaches = `
SELECT u.tenant_id, u.cache_id, u.settings ->> 'max_bytes' FROM upstreams u INDEXED BY upstreams_limited
 WHERE u.settings ->> 'max_bytes' IS NOT NULL`

	cachedBytes = `
SELECT coalesce(sum(b.size), 0) FROM blobs b
 WHERE b.tenant_id = ?1 AND b.digest IN (
       SELECT rb.digest
         FROM registries g
        CROSS JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
        CROSS JOIN manifests m INDEXED BY manifests_cached ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.expire_at > ?3
        CROSS JOIN manifest_blobs mb ON mb.tenant_id = m.tenant_id AND mb.repo_id = m.repo_id AND mb.manifest = m.digest
        CROSS JOIN repo_blobs rb ON rb.tenant_id = mb.tenant_id AND rb.repo_id = mb.repo_id AND rb.digest = mb.digest
        WHERE g.tenant_id = ?1 AND (g.id = ?2 OR g.kept_for = ?2)
          AND NOT EXISTS (SELECT 1 FROM repo_blobs h
               CROSS JOIN repositories hr ON hr.tenant_id = h.tenant_id AND hr.id = h.repo_id
               CROSS JOIN registries hg ON hg.tenant_id = hr.tenant_id AND hg.id = hr.registry_id AND hg.upstream_id IS NULL
               WHERE h.tenant_id = rb.tenant_id AND h.digest = rb.digest))`

	leastPulled = `
SELECT m.repo_id, m.digest, m.expire_at
  FROM registries g
 CROSS JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
 CROSS JOIN manifests m INDEXED BY manifests_cached ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.expire_at > ?3
 WHERE g.tenant_id = ?1 AND (g.id = ?2 OR g.kept_for = ?2)
   AND NOT EXISTS (SELECT 1 FROM manifest_children c CROSS JOIN manifests p ON p.tenant_id = c.tenant_id AND p.repo_id = c.repo_id AND p.digest = c.parent
                    WHERE c.tenant_id = m.tenant_id AND c.repo_id = m.repo_id AND c.child = m.digest AND p.expire_at > ?3)
 ORDER BY m.expire_at LIMIT ?4`
)

// EvictCached implements meta.CacheCollector.
func (s *Store) EvictCached(ctx context.Context, limit int) (int, error) {
	caches, err := collect(ctx, s, scanLimited, limitedCaches)
	work := 0
	for _, l := range caches {
		if err != nil || work >= limit {
			break
		}
		var n int
		n, err = s.evict(ctx, l, limit-work)
		work += n
	}
	return work, err
}

// cachedManifest is an unexpired cached manifest.
type cachedManifest struct {
	repo     int64
	digest   oci.Digest
	expireAt int64
}

func scanCachedManifest(scan scan) (cachedManifest, error) {
	var m cachedManifest
	err := scan(&m.repo, digestScanner{&m.digest}, &m.expireAt)
	return m, err
}

// evict expires manifests of one cache, of at most limit images and indexes, and
// returns how many.
func (s *Store) evict(ctx context.Context, l limited, limit int) (int, error) {
	now := s.opts.Now().UnixMicro()
	var used int64
	if _, err := s.find(ctx, cachedBytes, []any{l.tenant, l.cache, now}, &used); err != nil || used <= l.bytes {
		return 0, err
	}
	oldest, err := collect(ctx, s, scanCachedManifest, leastPulled, l.tenant, l.cache, now, limit)
	if err != nil {
		return 0, err
	}
	work := 0
	err = s.step(ctx, deployment, func(t *tx) error {
		e := eviction{tx: t, tenant: l.tenant, over: used - l.bytes, freed: func(repo int64, d oci.Digest) (int64, error) {
			var bytes int64
			_, err := t.find(freedBytes, []any{l.tenant, repo, d.Bytes(), l.cache, t.now}, &bytes)
			return bytes, err
		}}
		err := e.run(oldest)
		work = e.manifests
		return err
	})
	return work, err
}

// eviction is one running evict.
type eviction struct {
	*tx
	tenant    tenant.ID
	over      int64                                         // bytes still over the limit
	freed     func(repo int64, d oci.Digest) (int64, error) // bytes freed by the expiry of a manifest
	manifests int                                           // expired so far
}

// run expires manifests in order until enough is free.
func (e *eviction) run(oldest []cachedManifest) error {
	for _, m := range oldest {
		if e.over <= 0 || e.manifests > 0 && e.spent() {
			break
		}
		if found, err := e.end(m); err != nil || !found {
			return err // pulled, or evicted, since it was read: the next call reads again
		}
	}
	return nil
}

// Manifests that a kept index lists stay.
const (
	endManifest = `
UPDATE manifests SET expire_at = ?5 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3 AND expire_at = ?4 AND expire_at > ?5`

	endChildren = `
UPDATE manifests SET expire_at = ?5
 WHERE tenant_id = ?1 AND repo_id = ?2 AND expire_at > ?5 AND expire_at <= ?4
   AND digest IN (SELECT c.child FROM manifest_children c WHERE c.tenant_id = ?1 AND c.repo_id = ?2 AND c.parent = ?3)
   AND NOT EXISTS (SELECT 1 FROM manifest_children c CROSS JOIN manifests p ON p.tenant_id = c.tenant_id AND p.repo_id = c.repo_id AND p.digest = c.parent
                    WHERE c.tenant_id = ?1 AND c.repo_id = ?2 AND c.child = manifests.digest AND p.expire_at > ?5)
RETURNING digest`

	// The blobs of the manifest that no other unexpired manifest of the cache names.
	// Hosted blobs did not count.
	freedBytes = `
SELECT coalesce(sum(b.size), 0)
  FROM manifest_blobs mb
 CROSS JOIN repo_blobs rb ON rb.tenant_id = mb.tenant_id AND rb.repo_id = mb.repo_id AND rb.digest = mb.digest
 CROSS JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest
 WHERE mb.tenant_id = ?1 AND mb.repo_id = ?2 AND mb.manifest = ?3
   AND NOT EXISTS (SELECT 1
         FROM repo_blobs o
        CROSS JOIN repositories r ON r.tenant_id = o.tenant_id AND r.id = o.repo_id
        CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND (g.id = ?4 OR g.kept_for = ?4)
        CROSS JOIN manifest_blobs n ON n.tenant_id = o.tenant_id AND n.repo_id = o.repo_id AND n.digest = o.digest
        CROSS JOIN manifests m ON m.tenant_id = n.tenant_id AND m.repo_id = n.repo_id AND m.digest = n.manifest
        WHERE o.tenant_id = mb.tenant_id AND o.digest = mb.digest AND m.expire_at > ?5)
          AND NOT EXISTS (SELECT 1 FROM repo_blobs h
               CROSS JOIN repositories hr ON hr.tenant_id = h.tenant_id AND hr.id = h.repo_id
               CROSS JOIN registries hg ON hg.tenant_id = hr.tenant_id AND hg.id = hr.registry_id AND hg.upstream_id IS NULL
               WHERE h.tenant_id = mb.tenant_id AND h.digest = mb.digest)`
)

// end expires a manifest and the manifests that it lists; false if the manifest has
// changed. Those that the step has no time for keep their expiry.
func (e *eviction) end(m cachedManifest) (bool, error) {
	n, err := e.exec(endManifest, e.tenant, m.repo, m.digest.Bytes(), m.expireAt, e.now)
	if err != nil || n == 0 {
		return false, err
	}
	e.manifests++
	for ended := []oci.Digest{m.digest}; len(ended) > 0; ended = ended[1:] {
		if ended[0] != m.digest && e.spent() {
			break
		}
		freed, err := e.freed(m.repo, ended[0])
		if err != nil {
			return false, err
		}
		e.over -= freed
		err = e.list(endChildren, []any{e.tenant, m.repo, ended[0].Bytes(), m.expireAt, e.now}, func(scan scan) error {
			var child oci.Digest
			err := scan(digestScanner{&child})
			ended = append(ended, child)
			e.manifests++
			return err
		})
		if err != nil {
			return false, err
		}
	}
	return true, nil
}
