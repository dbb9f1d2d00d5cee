package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// sumSizes adds up what the tables of the statement before it have: stored, a row for each
// manifest, and held, one for each blob.
const sumSizes = `
SELECT (SELECT count(*) FROM stored), (SELECT CAST(coalesce(sum(size), 0) AS bigint) FROM stored),
       count(*), CAST(coalesce(sum(h.size), 0) AS bigint),
       coalesce(sum(CASE WHEN h.shared THEN 0 ELSE 1 END), 0), CAST(coalesce(sum(CASE WHEN h.shared THEN 0 ELSE h.size END), 0) AS bigint)
  FROM held h`

const (
	registrySize = `
WITH stored AS (
  SELECT m.size FROM repositories r CROSS JOIN manifests m
   WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.state = 'active' AND m.tenant_id = r.tenant_id AND m.repo_id = r.id
), linked AS (
  SELECT DISTINCT rb.digest FROM repositories r CROSS JOIN repo_blobs rb
   WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.state = 'active' AND rb.tenant_id = r.tenant_id AND rb.repo_id = r.id AND NOT rb.trashed
), held AS (
  SELECT b.size, EXISTS (
           SELECT 1 FROM repo_blobs o JOIN repositories x ON x.tenant_id = o.tenant_id AND x.id = o.repo_id
            WHERE o.tenant_id = $1 AND o.digest = b.digest AND (x.registry_id <> $2 OR x.state <> 'active' OR o.trashed)) AS shared
    FROM linked links JOIN blobs b ON b.tenant_id = $1 AND b.digest = links.digest
)` + sumSizes

	repositorySize = `
WITH repo AS (
  SELECT r.id FROM repositories r WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'
), stored AS (
  SELECT m.size FROM repo r JOIN manifests m ON m.tenant_id = $1 AND m.repo_id = r.id
), held AS (
  SELECT b.size, EXISTS (SELECT 1 FROM repo_blobs o WHERE o.tenant_id = $1 AND o.digest = b.digest AND o.repo_id <> r.id) AS shared
    FROM repo r JOIN repo_blobs rb ON rb.tenant_id = $1 AND rb.repo_id = r.id JOIN blobs b ON b.tenant_id = $1 AND b.digest = rb.digest
   WHERE NOT rb.trashed
)` + sumSizes

	imageSize = `
WITH RECURSIVE image (repo_id, digest) AS (
  SELECT m.repo_id, m.digest
    FROM repositories r
    JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
                    AND m.digest = CASE WHEN $5 = '' THEN $4 ELSE (SELECT g.manifest FROM tags g WHERE g.tenant_id = r.tenant_id AND g.repo_id = r.id AND g.name = $5) END
   WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'
   UNION
  SELECT c.repo_id, c.child FROM image JOIN manifest_children c ON c.tenant_id = $1 AND c.repo_id = image.repo_id AND c.parent = image.digest
), stored AS (
  SELECT m.size FROM image JOIN manifests m ON m.tenant_id = $1 AND m.repo_id = image.repo_id AND m.digest = image.digest
), counted AS (
  SELECT DISTINCT mb.repo_id, mb.digest FROM image JOIN manifest_blobs mb ON mb.tenant_id = $1 AND mb.repo_id = image.repo_id AND mb.manifest = image.digest
   WHERE mb.held_repo_id IS NOT NULL
), held AS (
  SELECT b.size,
         EXISTS (SELECT 1 FROM manifest_blobs o WHERE o.tenant_id = $1 AND o.repo_id = n.repo_id AND o.digest = n.digest AND o.manifest NOT IN (SELECT digest FROM image))
         OR EXISTS (SELECT 1 FROM trashed_blobs o WHERE o.tenant_id = $1 AND o.repo_id = n.repo_id AND o.digest = n.digest)
         OR EXISTS (SELECT 1 FROM repo_blobs o WHERE o.tenant_id = $1 AND o.digest = n.digest AND o.repo_id <> n.repo_id) AS shared
    FROM counted n JOIN blobs b ON b.tenant_id = $1 AND b.digest = n.digest
)` + sumSizes
)

func scanContentSize(scan Scan) (meta.ContentSize, error) {
	var c meta.ContentSize
	err := scan(&c.Manifests, &c.ManifestBytes, &c.Blobs, &c.BlobBytes, &c.OwnBlobs, &c.OwnBlobBytes)
	return c, err
}

// RegistrySize implements meta.ContentSizes.
func (s *Records) RegistrySize(ctx context.Context, t tenant.ID, r tenant.RegistryID) (meta.ContentSize, error) {
	return find(ctx, s, t, nil, scanContentSize, registrySize, t, r)
}

// RepositorySize implements meta.ContentSizes.
func (s *Records) RepositorySize(ctx context.Context, r meta.Repo) (meta.ContentSize, error) {
	size, err := find(ctx, s, r.Tenant, nil, scanContentSize, repositorySize, r.Tenant, r.Registry, r.Name)
	if err == nil && size == (meta.ContentSize{}) {
		err = s.findActive(ctx, r)
	}
	return size, err
}

// findActive returns fault.NameUnknown if a repository does not exist.
func (s *Records) findActive(ctx context.Context, r meta.Repo) error {
	missing := fault.New(fault.NotFound, fault.NameUnknown, "repository %q is not known to this registry", r.Name)
	_, err := find(ctx, s, r.Tenant, missing, func(scan Scan) (int, error) { var one int; return one, scan(&one) },
		findActiveRepository, r.Tenant, r.Registry, r.Name)
	return err
}

// ImageSize implements meta.ContentSizes.
func (s *Records) ImageSize(ctx context.Context, r meta.Repo, ref oci.Reference) (meta.ContentSize, error) {
	size, err := find(ctx, s, r.Tenant, nil, scanContentSize, imageSize, r.Tenant, r.Registry, r.Name, ref.Digest.Bytes(), ref.Tag)
	if err == nil && size.Manifests == 0 {
		err = fault.New(fault.NotFound, fault.ManifestUnknown, "manifest %s is not known to repository %q", ref, r.Name)
	}
	return size, err
}
