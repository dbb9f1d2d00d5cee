package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
)

// The page ends with the row by which it reaches the bytes that it may have.
const (
	untilFull = `
SELECT sized.digest, sized.media_type, sized.size, sized.artifact_type, sized.annotations
  FROM (SELECT page.*, sum(page.size) OVER (ORDER BY page.digest) - page.size AS before FROM (`

	fromFull = `) AS page) AS sized
 WHERE sized.before < $7
 ORDER BY sized.digest`
)

const listReferrers = untilFull + `
SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations
  FROM repositories r
  JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active' AND m.subject = $4 AND m.digest > $5
 ORDER BY m.digest LIMIT $6` + fromFull

const listReferrersByType = untilFull + `
SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations
  FROM repositories r
  JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active' AND m.subject = $4 AND m.digest > $5
   AND m.artifact_type = $8
 ORDER BY m.digest LIMIT $6` + fromFull

// ListReferrers implements meta.Manifests.
func (s *Store) ListReferrers(ctx context.Context, r meta.Repo, subject oci.Digest, artifactType string, p meta.Page) ([]meta.Referrer, error) {
	after, err := sqlmeta.DigestAfter(p)
	if err != nil {
		return nil, err
	}
	query, args := listReferrers, []any{r.Tenant, r.Registry, r.Name, subject.Bytes(), after, p.Size, meta.MaxReferrerBytes}
	if artifactType != "" {
		query, args = listReferrersByType, append(args, artifactType)
	}
	return collect(ctx, s, r.Tenant, scanReferrer, query, args...)
}

func scanReferrer(scan scan) (meta.Referrer, error) {
	var r meta.Referrer
	err := scan(digestScanner{&r.Digest}, &r.MediaType, &r.Size, &r.ArtifactType, &r.Annotations)
	if len(r.Annotations) == 0 {
		r.Annotations = nil
	}
	return r, err
}
