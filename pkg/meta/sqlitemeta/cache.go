package sqlitemeta

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// PutCached implements meta.Cache.
func (s *Store) PutCached(ctx context.Context, p meta.CachedPut) error {
	fetched := meta.ManifestPut{Repo: p.Repo, Manifest: p.Manifest, Parsed: p.Parsed, AllowMissingReferences: true}
	return s.afterRemoval(ctx, p.Repo, p.Manifest.Digest, func() error {
		if err := s.linkFetchedAhead(ctx, fetched, p.Keep); err != nil {
			return err
		}
		return s.putCached(ctx, p, fetched)
	})
}

func (s *Store) putCached(ctx context.Context, p meta.CachedPut, fetched meta.ManifestPut) error {
	return s.writeCharged(ctx, p.Repo.Tenant, func(t *tx) (bool, error) {
		repo, err := t.ensureRepository(p.Repo, cached)
		if err != nil {
			return true, err
		}
		d := p.Manifest.Digest
		if err := t.refuseGoing(p.Repo.Tenant, repo.id, d); err != nil {
			return true, err
		}
		put := &put{tx: t, ManifestPut: fetched, repo: repo.id, own: d.Bytes()}
		if err := put.cached(p.Keep); err != nil || p.Tag == "" {
			return true, err
		}
		return true, t.moveCachedTag(p.Repo.Tenant, repo, p.Tag, d)
	})
}

// cached stores a manifest of an upstream, or prolongs it. Its references are not
// held: missing bytes are fetched again.
func (p *put) cached(keep time.Duration) error {
	isNew, err := p.manifest(p.after(keep))
	if err != nil {
		return err
	}
	if !isNew {
		_, err := p.exec(prolongManifest, p.Repo.Tenant, p.repo, p.own, p.after(keep))
		if err != nil || len(p.Parsed.Blobs)+len(p.Parsed.Children) <= aheadFrom {
			return err
		}
		// It may be linked partly: in steps before this, or by a process that ended.
	}
	if err := p.children(); err != nil {
		return err
	}
	blobs := map[oci.Digest]bool{}
	for _, d := range p.Parsed.Blobs {
		blobs[d.Digest] = true
	}
	linked, err := p.linked(linksToBlobs, len(blobs))
	if err != nil {
		return err
	}
	maps.DeleteFunc(blobs, func(d oci.Digest, _ bool) bool { _, there := linked[d]; return there })
	if err := p.link(nil, slices.Sorted(maps.Keys(blobs))); err != nil {
		return err
	}
	_, err = p.exec(showRepository, p.Repo.Tenant, p.repo)
	return err
}

const prolongManifest = `UPDATE manifests SET expire_at = ?4 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3`

// The manifest, the indexes that list it, and those that list them. Recently
// written rows are skipped, so that many pulls do not cause many writes.
const recordPull = `
UPDATE manifests SET expire_at = ?4
 WHERE tenant_id = ?1 AND repo_id = ?2 AND expire_at NOT BETWEEN ?5 AND ?4 AND digest IN (
       WITH RECURSIVE up (digest) AS (
            SELECT ?3
            UNION
            SELECT c.parent FROM up CROSS JOIN manifest_children c ON c.tenant_id = ?1 AND c.repo_id = ?2 AND c.child = up.digest)
       SELECT digest FROM up)`

// RecordPulls implements meta.Cache.
func (s *Store) RecordPulls(ctx context.Context, pulls []meta.CachedPull) error {
	if len(pulls) == 0 {
		return nil
	}
	return s.write(ctx, func(t *tx) error {
		for _, p := range pulls {
			repo, err := t.repository(p.Repo, cached)
			if fault.Is(err, fault.NameUnknown) {
				continue
			}
			if err != nil {
				return err
			}
			_, err = t.exec(recordPull, p.Repo.Tenant, repo.id, p.Digest.Bytes(), t.after(p.Keep), t.after(p.Keep-p.Age()))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// The registry, too, since a replaced cache must not be found.
const (
	activeRegistry = `
  FROM repositories r
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.state = 'active'`
	activeCache = activeRegistry + ` AND g.upstream_id IS NOT NULL`
)

const ofRepo = `
 WHERE r.tenant_id = ?1 AND r.registry_id = ?2 AND r.name = ?3 AND r.state = 'active'`

const findNaming = `
SELECT m.digest, m.media_type, m.payload` + activeCache + `
  JOIN manifest_children c ON c.tenant_id = r.tenant_id AND c.repo_id = r.id AND c.child = ?4
  JOIN manifests m ON m.tenant_id = c.tenant_id AND m.repo_id = c.repo_id AND m.digest = c.parent` + ofRepo + `
UNION ALL
SELECT m.digest, m.media_type, m.payload` + activeCache + `
  JOIN manifest_blobs b ON b.tenant_id = r.tenant_id AND b.repo_id = r.id AND b.digest = ?4
  JOIN manifests m ON m.tenant_id = b.tenant_id AND m.repo_id = b.repo_id AND m.digest = b.manifest` + ofRepo + `
LIMIT 1`

// FindNaming implements meta.Cache.
func (s *Store) FindNaming(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Manifest, error) {
	var m meta.Manifest
	found, err := s.find(ctx, findNaming, []any{r.Tenant, r.Registry, r.Name, d.Bytes()}, digestScanner{&m.Digest}, &m.MediaType, &m.Payload)
	if err == nil && !found {
		err = manifestUnknown("that names " + d.String())
	}
	return m, err
}

const findHealthyBlob = `SELECT size, incarnation FROM blobs WHERE tenant_id = ?1 AND digest = ?2 AND suspect = 0`

// LinkBlob implements meta.Cache.
func (s *Store) LinkBlob(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error) {
	return s.linkHealthy(ctx, r, d, findHealthyBlob, r.Tenant, d.Bytes())
}

const findSentBlob = `
SELECT b.size, b.incarnation
  FROM repo_blobs rb
  JOIN repositories r ON r.tenant_id = rb.tenant_id AND r.id = rb.repo_id AND r.registry_id = ?3 AND r.state = 'active'
  JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest AND b.suspect = 0
 WHERE rb.tenant_id = ?1 AND rb.digest = ?2
 LIMIT 1`

// WasSent implements meta.Cache.
func (s *Store) WasSent(ctx context.Context, r meta.Repo, d oci.Digest) (bool, error) {
	b := newBlob(r.Tenant, d)
	return s.find(ctx, findSentBlob, []any{r.Tenant, d.Bytes(), r.Registry}, &b.Size, &b.Key.Incarnation)
}

// LinkSent implements meta.Cache.
func (s *Store) LinkSent(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error) {
	return s.linkHealthy(ctx, r, d, findSentBlob, r.Tenant, d.Bytes(), r.Registry)
}

// linkHealthy links the blob that a statement finds.
func (s *Store) linkHealthy(ctx context.Context, r meta.Repo, d oci.Digest, statement string, args ...any) (meta.Blob, error) {
	b := newBlob(r.Tenant, d)
	err := s.writeCharged(ctx, r.Tenant, func(t *tx) (bool, error) {
		repo, err := t.ensureRepository(r, cached)
		if err != nil {
			return true, err
		}
		found, err := t.find(statement, args, &b.Size, &b.Key.Incarnation)
		if err != nil {
			return true, err
		}
		if !found {
			return true, blobUnknown(d)
		}
		_, err = t.exec(linkBlob, r.Tenant, repo.id, d.Bytes(), t.after(s.life.Grace))
		return true, err
	})
	return b, err
}

const claimedBy = `
SELECT 1 FROM json_each(?2) j CROSS JOIN name_claims c ON c.tenant_id = ?1 AND c.registry_id = j.value AND c.name = ?3 LIMIT 1`

// ClaimedBy implements meta.Cache.
func (s *Store) ClaimedBy(ctx context.Context, t tenant.ID, registries []tenant.RegistryID, name string) (bool, error) {
	encoded, err := json.Marshal(registries)
	if err != nil {
		return false, translate(err)
	}
	var one int
	return s.find(ctx, claimedBy, []any{t, string(encoded), name}, &one)
}
