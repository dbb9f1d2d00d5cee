package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

const listReferrers = `
SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations
  FROM repositories r
  JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active' AND m.subject = $4 AND m.digest > $5
 ORDER BY m.digest LIMIT $6`

const listReferrersByType = `
SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations
  FROM repositories r
  JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active' AND m.subject = $4 AND m.digest > $5
   AND m.artifact_type = $7
 ORDER BY m.digest LIMIT $6`

// ListReferrers implements meta.Manifests.
func (s *Store) ListReferrers(ctx context.Context, r meta.Repo, subject oci.Digest, artifactType string, p meta.Page) ([]meta.Referrer, error) {
	after := []byte{0} // less than every stored digest
	if p.After != "" {
		d, err := oci.ParseDigest(p.After)
		if err != nil {
			return nil, err
		}
		after = d.Bytes()
	}
	query, args := listReferrers, []any{r.Tenant, r.Registry, r.Name, subject.Bytes(), after, p.Size}
	if artifactType != "" {
		query, args = listReferrersByType, append(args, artifactType)
	}
	return collect(ctx, s, r.Tenant, scanReferrer, query, args...)
}

func scanReferrer(scan scan) (meta.Referrer, error) {
	var r meta.Referrer
	err := scan(digest{&r.Digest}, &r.MediaType, &r.Size, &r.ArtifactType, &r.Annotations)
	if len(r.Annotations) == 0 {
		r.Annotations = nil
	}
	return r, err
}
