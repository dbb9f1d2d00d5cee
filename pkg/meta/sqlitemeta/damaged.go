package sqlitemeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
)

const (
	listSuspects = `
SELECT b.tenant_id, b.incarnation, b.ostate, b.size, b.digest, b.hosted = 0, b.suspect
  FROM blobs b
 WHERE b.suspect = 1 AND (b.tenant_id, b.incarnation) > (?1, ?2)
   AND NOT EXISTS (SELECT 1 FROM damaged_objects d WHERE d.tenant_id = b.tenant_id AND d.incarnation = b.incarnation)
 ORDER BY b.tenant_id, b.incarnation LIMIT ?3`

	listDamaged = `
SELECT d.tenant_id, d.incarnation, b.digest, b.size, b.suspect, d.damage, d.found_at, t.slug,
       (SELECT json_group_array(name) FROM (
         SELECT ` + repositoryName + ` AS name
           FROM repo_blobs rb
           JOIN repositories r ON r.tenant_id = rb.tenant_id AND r.id = rb.repo_id` + repositoryParents + `
          WHERE rb.tenant_id = b.tenant_id AND rb.digest = b.digest LIMIT 10))
  FROM damaged_objects d
  CROSS JOIN blobs b ON b.tenant_id = d.tenant_id AND b.incarnation = d.incarnation
  CROSS JOIN tenants t ON t.id = d.tenant_id
 WHERE (d.tenant_id, d.incarnation) > (?1, ?2)
 ORDER BY d.tenant_id, d.incarnation LIMIT ?3`
)

// ListSuspects implements meta.Scrubs.
func (s *Store) ListSuspects(ctx context.Context, after blob.Key, limit int) ([]meta.ObjectRow, error) {
	return collect(ctx, s, scanObject, listSuspects, after.Tenant, after.Incarnation[:], limit)
}

// ListDamaged implements meta.Scrubs.
func (s *Store) ListDamaged(ctx context.Context, after blob.Key, limit int) ([]meta.Damaged, error) {
	return collect(ctx, s, scanDamaged, listDamaged, after.Tenant, after.Incarnation[:], limit)
}

func scanDamaged(scan scan) (meta.Damaged, error) {
	var d meta.Damaged
	var names string
	err := scan(&d.Key.Tenant, &d.Key.Incarnation, digestScanner{&d.Digest}, &d.Size, &d.Suspect, &d.Damage, sqlmeta.ScanTime(&d.FoundAt), &d.Tenant, &names)
	if err == nil {
		err = json.Unmarshal([]byte(names), &d.Repositories)
	}
	return d, err
}
