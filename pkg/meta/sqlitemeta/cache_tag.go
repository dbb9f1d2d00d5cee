package sqlitemeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

const findCachedTag = `
SELECT m.digest, m.media_type, m.payload, x.checked_at, x.doubted` + activeCache + `
  JOIN cache_tags x ON x.tenant_id = r.tenant_id AND x.repo_id = r.id AND x.name = ?4
  JOIN manifests m ON m.tenant_id = x.tenant_id AND m.repo_id = x.repo_id AND m.digest = x.manifest` + ofRepo

// FindCachedTag implements meta.Cache.
func (s *Store) FindCachedTag(ctx context.Context, r meta.Repo, tag string) (meta.CachedTag, error) {
	var c meta.CachedTag
	found, err := s.find(ctx, findCachedTag, []any{r.Tenant, r.Registry, r.Name, tag},
		digestScanner{&c.Manifest.Digest}, &c.Manifest.MediaType, &c.Manifest.Payload, sqlmeta.ScanTime(&c.CheckedAt), &c.Doubted)
	if err == nil && !found {
		err = manifestUnknown(tag)
	}
	return c, err
}

const manifestIsThere = `SELECT 1 FROM manifests WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3`

// ConfirmCachedTag implements meta.Cache.
func (s *Store) ConfirmCachedTag(ctx context.Context, r meta.Repo, tag string, d oci.Digest) error {
	return s.writeFor(ctx, r.Tenant, func(t *tx) error {
		repo, err := t.repository(r, cached)
		if err != nil {
			return err
		}
		var one int
		found, err := t.find(manifestIsThere, []any{r.Tenant, repo.id, d.Bytes()}, &one)
		if err != nil {
			return err
		}
		if !found {
			return manifestUnknown(d.String())
		}
		return t.moveCachedTag(r.Tenant, repo, tag, d)
	})
}

const (
	// A recent event is not repeated.
	cachedTagReturns = `
SELECT 1 FROM cache_tags
 WHERE tenant_id = ?1 AND repo_id = ?2 AND name = ?3 AND previous = ?4 AND manifest <> ?4 AND coalesce(told_at <= ?5, 1)`

	moveCachedTag = `
INSERT INTO cache_tags (tenant_id, repo_id, name, manifest, checked_at) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (tenant_id, repo_id, name) DO UPDATE SET
   previous = CASE WHEN cache_tags.manifest = excluded.manifest THEN cache_tags.previous ELSE cache_tags.manifest END,
   manifest = excluded.manifest, checked_at = excluded.checked_at, doubted = 0,
   told_at = CASE WHEN ?6 THEN ?5 ELSE cache_tags.told_at END`
)

// moveCachedTag points a tag to a stored manifest, checked now. A return to the
// previous manifest may be an attack, so it writes an event.
func (t *tx) moveCachedTag(id tenant.ID, repo repository, tag string, d oci.Digest) error {
	var one int
	returns, err := t.find(cachedTagReturns, []any{id, repo.id, tag, d.Bytes(), t.after(-meta.TellAgain)}, &one)
	if err != nil {
		return err
	}
	if returns {
		by := meta.Cause{Op: uuid.New(), Actor: sqlmeta.UpstreamTarget(repo.upstream)}
		if err := t.event(by, id, "cache.tag_rollback", target(repo, []string{tag}, d)); err != nil {
			return err
		}
	}
	_, err = t.exec(moveCachedTag, id, repo.id, tag, d.Bytes(), t.now, returns)
	return err
}

const dropCachedTag = `DELETE FROM cache_tags WHERE tenant_id = ?1 AND repo_id = ?2 AND name = ?3`

// DropCachedTag implements meta.Cache.
func (s *Store) DropCachedTag(ctx context.Context, r meta.Repo, tag string) error {
	return s.writeFor(ctx, r.Tenant, func(t *tx) error {
		repo, err := t.repository(r, cached)
		if fault.Is(err, fault.NameUnknown) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = t.exec(dropCachedTag, r.Tenant, repo.id, tag)
		return err
	})
}
