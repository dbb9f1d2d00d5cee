package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func manifestUnknown(ref string) error {
	return fault.New(fault.NotFound, fault.ManifestUnknown, "manifest %s not found in this repository", ref).
		WithDetail(map[string]string{"reference": ref})
}

const findManifestByTag = `
SELECT m.digest, m.media_type, m.payload
  FROM repositories r
  JOIN tags g ON g.tenant_id = r.tenant_id AND g.repo_id = r.id AND g.name = $4
  JOIN manifests m ON m.tenant_id = g.tenant_id AND m.repo_id = g.repo_id AND m.digest = g.manifest
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'`

const findManifestByDigest = `
SELECT m.digest, m.media_type, m.payload
  FROM repositories r
  JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = $4
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'`

// FindManifest implements meta.Manifests.
func (s *Store) FindManifest(ctx context.Context, r meta.Repo, ref oci.Reference) (meta.Manifest, error) {
	query, key := findManifestByTag, any(ref.Tag)
	if ref.Digest != "" {
		query, key = findManifestByDigest, ref.Digest.Bytes()
	}
	var m meta.Manifest
	found, err := s.find(ctx, r.Tenant, query, []any{r.Tenant, r.Registry, r.Name, key}, digestScanner{&m.Digest}, &m.MediaType, &m.Payload)
	if err == nil && !found {
		err = s.absent(ctx, r, manifestUnknown(ref.String()))
	}
	return m, err
}
