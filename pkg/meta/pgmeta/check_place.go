package pgmeta

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// The names of repositories are those of the admin API, which calls a cached one
// by its upstream.

const repositoryName = `'tenants/' || rt.slug || CASE WHEN ru.slug IS NULL THEN '/registries/' || rg.slug ELSE '/upstreams/' || ru.slug END || '/repositories/' || r.name`

const repositoryParents = `
  JOIN tenants rt ON rt.id = r.tenant_id
  JOIN registries rg ON rg.tenant_id = r.tenant_id AND rg.id = r.registry_id
  LEFT JOIN upstreams ru ON ru.tenant_id = rg.tenant_id AND ru.id = rg.upstream_id`

// findingsOf and inPlace enclose a check: they add the tenant, and the repository
// or, if the finding has none, those that hold the digest.
const findingsOf = `
SELECT f.detail, t.slug, f.tenant_id, f.digest, f.object,
       CASE WHEN f.repo_id IS NOT NULL THEN
         ARRAY(SELECT ` + repositoryName + `
                 FROM repositories r` + repositoryParents + `
                WHERE r.tenant_id = f.tenant_id AND r.id = f.repo_id)
       ELSE
         ARRAY(SELECT ` + repositoryName + `
                 FROM repo_blobs rb
                 JOIN repositories r ON r.tenant_id = rb.tenant_id AND r.id = rb.repo_id` + repositoryParents + `
                WHERE rb.tenant_id = f.tenant_id AND rb.digest = f.digest LIMIT 10)
       END
  FROM (`

const inPlace = `) f
  LEFT JOIN tenants t ON t.id = f.tenant_id`

func scanFinding(scan scan) (meta.Finding, error) {
	var (
		f            meta.Finding
		slug, object pgtype.Text
		owner        pgtype.Int8
		stored       []byte
	)
	if err := scan(&f.Detail, &slug, &owner, &stored, &object, &f.Repositories); err != nil {
		return f, err
	}
	f.Tenant = slug.String
	if d, err := oci.DigestFromBytes(stored); err == nil { // an invalid digest is only in the detail
		f.Digest = d.String()
	}
	if object.Valid {
		id, err := uuid.Parse(object.String)
		if err != nil {
			return f, err
		}
		f.Object = blob.Key{Tenant: owner.Int64, Incarnation: id}.String()
	}
	return f, nil
}

const (
	findSlugByID = `SELECT slug FROM tenants WHERE id = $1`

	holdersOf = `
SELECT ` + repositoryName + `
  FROM repo_blobs rb
  JOIN repositories r ON r.tenant_id = rb.tenant_id AND r.id = rb.repo_id` + repositoryParents + `
 WHERE rb.tenant_id = $1 AND rb.digest = $2 LIMIT 10`
)

// LocateBlob implements meta.Checker.
func (s *Store) LocateBlob(ctx context.Context, owner int64, d oci.Digest) (meta.Place, error) {
	slugs, err := collect(ctx, s, noTenant, scanText, findSlugByID, owner)
	if err != nil || len(slugs) == 0 {
		return meta.Place{}, err
	}
	names, err := collect(ctx, s, noTenant, scanText, holdersOf, owner, d.Bytes())
	return meta.Place{Tenant: slugs[0], Repositories: names}, err
}

func scanText(scan scan) (string, error) {
	var text string
	err := scan(&text)
	return text, err
}
