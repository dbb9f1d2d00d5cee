package pgmeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Locks in cached repositories are taken in the order of all others, and
// cache_tags come after manifests: a tag's row goes with its manifest.

// The manifest that is named is looked for among those that list it and then
// among those that name it, each by its index.
const findNaming = `
SELECT m.digest, m.media_type, m.payload
  FROM registries g
  JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id AND r.name = $3 AND r.state = 'active'
 CROSS JOIN LATERAL (
        (SELECT c.parent FROM manifest_children c WHERE c.tenant_id = r.tenant_id AND c.repo_id = r.id AND c.child = $4 LIMIT 1)
        UNION ALL
        (SELECT b.manifest FROM manifest_blobs b WHERE b.tenant_id = r.tenant_id AND b.repo_id = r.id AND b.digest = $4 LIMIT 1)
        LIMIT 1) AS naming (digest)
  JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = naming.digest
 WHERE g.tenant_id = $1 AND g.id = $2 AND g.state = 'active' AND g.upstream_id IS NOT NULL`

// FindNaming implements meta.Cache.
func (s *Store) FindNaming(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Manifest, error) {
	var m meta.Manifest
	found, err := s.find(ctx, r.Tenant, findNaming, []any{r.Tenant, r.Registry, r.Name, d.Bytes()}, digestScanner{&m.Digest}, &m.MediaType, &m.Payload)
	if err == nil && !found {
		err = manifestUnknown("that names " + d.String())
	}
	return m, err
}

// LinkBlob implements meta.Cache.
func (s *Store) LinkBlob(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error) {
	return s.linkHealthy(ctx, r, d, false)
}

const wasSent = `
SELECT true
  FROM repo_blobs rb
  JOIN repositories r ON r.tenant_id = rb.tenant_id AND r.id = rb.repo_id AND r.registry_id = $3 AND r.state = 'active'
 WHERE rb.tenant_id = $1 AND rb.digest = $2
 LIMIT 1`

// WasSent implements meta.Cache.
func (s *Store) WasSent(ctx context.Context, r meta.Repo, d oci.Digest) (bool, error) {
	var sent bool
	return s.find(ctx, r.Tenant, wasSent, []any{r.Tenant, d.Bytes(), r.Registry}, &sent)
}

// LinkSent implements meta.Cache.
func (s *Store) LinkSent(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error) {
	return s.linkHealthy(ctx, r, d, true)
}

// linkHealthy links the blob if the tenant has it; for sent, if another
// repository of the same cache registry has. Of that one no lock is held: once
// sent is sent, also where its link goes meanwhile.
func (s *Store) linkHealthy(ctx context.Context, r meta.Repo, d oci.Digest, sent bool) (meta.Blob, error) {
	b := newBlob(r.Tenant, d)
	err := s.write(ctx, r.Tenant, func(t *tx) error {
		var repo *repository
		var held, proven bool
		err := t.ensureRepository(r, func() (bool, error) {
			repo = t.lockRepository(r)
			t.queue(lockHealthyBlob, r.Tenant, d.Bytes()).QueryRow(first(&held, &b.Size, uuidScanner{&b.Key.Incarnation}))
			if sent {
				t.queue(wasSent, r.Tenant, d.Bytes(), r.Registry).QueryRow(first(&proven, new(bool)))
			}
			err := t.flush()
			return repo.isCached(), err
		})
		if err != nil {
			return err
		}
		if !held || sent && !proven {
			return blobUnknown(d)
		}
		t.queue(linkBlob, r.Tenant, repo.id, d.Bytes(), s.life.Grace)
		if t.grew {
			t.withinQuota(r.Tenant, true)
		}
		return nil
	})
	return b, err
}

const claimedBy = `
SELECT 1
  FROM unnest($2::bigint[]) AS hosting (id)
 CROSS JOIN LATERAL (
        SELECT 1 FROM name_claims c WHERE c.tenant_id = $1 AND c.registry_id = hosting.id AND c.name = $3 OFFSET 0) AS claim
 LIMIT 1`

// ClaimedBy implements meta.Cache.
func (s *Store) ClaimedBy(ctx context.Context, t tenant.ID, registries []tenant.RegistryID, name string) (bool, error) {
	ids := make([]int64, len(registries))
	for i, r := range registries {
		ids[i] = int64(r)
	}
	var one int
	return s.find(ctx, t, claimedBy, []any{t, ids, name}, &one)
}

// Without an actor it was the upstream.
const insertCacheEvent = `
INSERT INTO events (tenant_id, op, at, actor, verb, target, request_id, address, on_behalf, user_agent, changes, pending, hooked)
SELECT u.tenant_id, $4, berth_now(), coalesce($5::text, 'upstreams/' || u.slug), $6, 'upstreams/' || u.slug || '/repositories/' || $3::text || $7::text, $8, $9, $10, $11, $12,
       ` + sqlmeta.HasSink + `, ` + sqlmeta.HasWebhook + `
  FROM registries g JOIN upstreams u ON u.tenant_id = g.tenant_id AND u.id = g.upstream_id
 WHERE g.tenant_id = $1 AND g.id = $2
ON CONFLICT (tenant_id, op) DO NOTHING`

// cacheEvent queues the event of a change in the cached repository r; recorded
// is how many rows it became.
func (t *tx) cacheEvent(by meta.Cause, r meta.Repo, verb, suffix string, recorded *int64) error {
	if by.Op == uuid.Nil {
		return sqlmeta.ErrNoOperation
	}
	t.queue(insertCacheEvent, r.Tenant, r.Registry, r.Name, pgUUID(by.Op), by.Actor, verb, suffix, by.RequestID, by.Address, by.OnBehalf, by.UserAgent, meta.EncodeChanges(by.Changes)).Exec(counted(recorded))
	return nil
}

// upstreamEvent queues the event of what an upstream did.
func (t *tx) upstreamEvent(op uuid.UUID, r meta.Repo, verb, suffix string) {
	t.queue(insertCacheEvent, r.Tenant, r.Registry, r.Name, pgUUID(op), nil, verb, suffix, "", "", "", "", "")
}
