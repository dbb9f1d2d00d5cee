package sqlitemeta

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
)

const listReferrers = `
SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations
  FROM repositories r
  JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
 WHERE r.tenant_id = ?1 AND r.registry_id = ?2 AND r.name = ?3 AND r.state = 'active' AND m.subject = ?4 AND m.digest > ?5
 ORDER BY m.digest LIMIT ?6`

const listReferrersByType = `
SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations
  FROM repositories r
  JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
 WHERE r.tenant_id = ?1 AND r.registry_id = ?2 AND r.name = ?3 AND r.state = 'active' AND m.subject = ?4 AND m.digest > ?5
   AND m.artifact_type = ?7
 ORDER BY m.digest LIMIT ?6`

// ListReferrers implements meta.Manifests.
func (s *Store) ListReferrers(ctx context.Context, r meta.Repo, subject oci.Digest, artifactType string, p meta.Page) ([]meta.Referrer, error) {
	after, err := sqlmeta.DigestAfter(p)
	if err != nil {
		return nil, err
	}
	query, args := listReferrers, []any{r.Tenant, r.Registry, r.Name, subject.Bytes(), after, p.Size}
	if artifactType != "" {
		query, args = listReferrersByType, append(args, artifactType)
	}
	var found []meta.Referrer
	size := int64(0)
	err = s.list(ctx, query, args, func(scan scan) error {
		r, err := scanReferrer(scan)
		if err != nil {
			return err
		}
		found = append(found, r)
		if size += r.Size; size >= meta.MaxReferrerBytes {
			return errPageFull
		}
		return nil
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return nil, err
	}
	return found, nil
}

// errPageFull ends the reading of rows; it is no failure.
var errPageFull = errors.New("sqlitemeta: the page is full")

func scanReferrer(scan scan) (meta.Referrer, error) {
	var r meta.Referrer
	var annotations []byte
	if err := scan(digestScanner{&r.Digest}, &r.MediaType, &r.Size, &r.ArtifactType, &annotations); err != nil {
		return r, err
	}
	err := json.Unmarshal(annotations, &r.Annotations)
	if len(r.Annotations) == 0 {
		r.Annotations = nil
	}
	return r, err
}
