package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
)

// A suspect is looked up among those that were reported: a join might read all of these.
const (
	listSuspects = `
SELECT b.tenant_id, b.incarnation, b.ostate, b.size, b.digest, NOT b.hosted, b.suspect
  FROM blobs b
 WHERE b.suspect AND (b.tenant_id, b.incarnation) > ($1, $2)
   AND (SELECT d.found_at FROM damaged_objects d WHERE d.tenant_id = b.tenant_id AND d.incarnation = b.incarnation) IS NULL
 ORDER BY b.tenant_id, b.incarnation LIMIT $3`

	listDamaged = `
SELECT d.tenant_id, d.incarnation, b.digest, b.size, b.suspect, d.damage, d.found_at, t.slug,
       ARRAY(SELECT ` + repositoryName + `
               FROM repo_blobs rb
               JOIN repositories r ON r.tenant_id = rb.tenant_id AND r.id = rb.repo_id` + repositoryParents + `
              WHERE rb.tenant_id = b.tenant_id AND rb.digest = b.digest LIMIT 10)
  FROM damaged_objects d
  JOIN blobs b ON b.tenant_id = d.tenant_id AND b.incarnation = d.incarnation
  JOIN tenants t ON t.id = d.tenant_id
 WHERE (d.tenant_id, d.incarnation) > ($1, $2)
 ORDER BY d.tenant_id, d.incarnation LIMIT $3`
)

// ListSuspects implements meta.Scrubs.
func (s *Store) ListSuspects(ctx context.Context, after blob.Key, limit int) ([]meta.ObjectRow, error) {
	return collect(ctx, s, noTenant, scanObject, listSuspects, after.Tenant, pgUUID(after.Incarnation), limit)
}

// ListDamaged implements meta.Scrubs.
func (s *Store) ListDamaged(ctx context.Context, after blob.Key, limit int) ([]meta.Damaged, error) {
	return collect(ctx, s, noTenant, scanDamaged, listDamaged, after.Tenant, pgUUID(after.Incarnation), limit)
}

func scanDamaged(scan scan) (meta.Damaged, error) {
	var d meta.Damaged
	err := scan(&d.Key.Tenant, uuidScanner{&d.Key.Incarnation}, digestScanner{&d.Digest}, &d.Size, &d.Suspect, &d.Damage, sqlmeta.ScanTime(&d.FoundAt), &d.Tenant, &d.Repositories)
	return d, err
}
