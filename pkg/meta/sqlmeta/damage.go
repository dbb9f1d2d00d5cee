package sqlmeta

import (
	"context"
	"strings"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	suspectBlob = `UPDATE blobs SET suspect = TRUE WHERE tenant_id = $1 AND digest = $2 AND incarnation = $3`
	trustBlob   = `UPDATE blobs SET suspect = FALSE WHERE tenant_id = $1 AND digest = $2 AND incarnation = $3`

	reportObject = `
INSERT INTO damaged_objects (tenant_id, incarnation, damage, found_at) VALUES ($1, $2, $3, berth_now())
ON CONFLICT (tenant_id, incarnation) DO UPDATE SET damage = excluded.damage, found_at = excluded.found_at WHERE damaged_objects.damage <> excluded.damage`
	clearObject = `DELETE FROM damaged_objects WHERE tenant_id = $1 AND incarnation = $2`

	countDamaged = `
SELECT count(CASE WHEN d.damage = 'lost' THEN 1 END), count(CASE WHEN d.damage = 'rotten' THEN 1 END)
  FROM damaged_objects d
  JOIN blobs b ON b.tenant_id = d.tenant_id AND b.incarnation = d.incarnation`

	listCopies = `
SELECT t.slug, u.slug, r.name
  FROM repo_blobs rb
  JOIN repositories r ON r.tenant_id = rb.tenant_id AND r.id = rb.repo_id AND r.state = 'active'
  JOIN upstreams u ON u.tenant_id = r.tenant_id AND u.cache_id = r.registry_id
  JOIN tenants t ON t.id = u.tenant_id AND t.state = 'active'
 WHERE rb.tenant_id = $1 AND rb.digest = $2
 ORDER BY rb.repo_id LIMIT $3`
)

// ReportDamage implements meta.Scrubs.
func (s *Records) ReportDamage(ctx context.Context, by meta.Cause, d meta.Damaged) (bool, error) {
	id, verb := tenant.ID(d.Key.Tenant), meta.BlobLost
	if d.Damage == meta.Rotten {
		verb = meta.BlobRotten
	}
	by.Changes = hurt(d.Place)
	news := false
	err := s.engine.Write(ctx, id, func(t Tx) error {
		news = false
		found, err := t.Exec(suspectBlob, id, d.Digest.Bytes(), d.Key.Incarnation[:])
		if err != nil || found == 0 {
			return err
		}
		made, err := t.Exec(reportObject, id, d.Key.Incarnation[:], string(d.Damage))
		if err != nil || made == 0 {
			return err
		}
		news = true
		return Event(t, by, id, verb, meta.BlobTarget(d.Digest))
	})
	return news, err
}

// hurt are the repositories that have the blob, as the changes of an event.
func hurt(p meta.Place) []meta.Change {
	var lost []meta.Change
	for _, name := range p.Repositories {
		lost = append(lost, meta.Change{Field: "repository", Old: strings.TrimPrefix(name, "tenants/"+p.Tenant+"/")})
	}
	return lost
}

// ClearDamage implements meta.Scrubs.
func (s *Records) ClearDamage(ctx context.Context, by meta.Cause, b meta.Blob) error {
	id := tenant.ID(b.Key.Tenant)
	return s.engine.Write(ctx, id, func(t Tx) error {
		found, err := t.Exec(trustBlob, id, b.Digest.Bytes(), b.Key.Incarnation[:])
		if err != nil || found == 0 {
			return err
		}
		reported, err := t.Exec(clearObject, id, b.Key.Incarnation[:])
		if err != nil || reported == 0 {
			return err
		}
		return Event(t, by, id, meta.BlobRecovered, meta.BlobTarget(b.Digest))
	})
}

// CountDamaged implements meta.Scrubs.
func (s *Records) CountDamaged(ctx context.Context) (map[meta.Damage]int64, error) {
	counts, err := list(ctx, s, noTenant, func(scan Scan) (map[meta.Damage]int64, error) {
		var lost, rotten int64
		err := scan(&lost, &rotten)
		return map[meta.Damage]int64{meta.Lost: lost, meta.Rotten: rotten}, err
	}, countDamaged)
	return One(counts, err, nil)
}

// ListCopies implements meta.Scrubs.
func (s *Records) ListCopies(ctx context.Context, id tenant.ID, d oci.Digest, limit int) ([]meta.CachedCopy, error) {
	return list(ctx, s, id, func(scan Scan) (meta.CachedCopy, error) {
		c := meta.CachedCopy{Tenant: id}
		err := scan(&c.TenantSlug, &c.Upstream, &c.Repository)
		return c, err
	}, listCopies, id, d.Bytes(), limit)
}
