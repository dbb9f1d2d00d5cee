package sqlitemeta

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
)

const linkAdopted = `
INSERT INTO repo_blobs (tenant_id, repo_id, digest, keep_until) SELECT ?1, ?2, unhex(j.value), ?4 FROM json_each(?3) j WHERE true
ON CONFLICT (tenant_id, repo_id, digest) DO UPDATE SET keep_until = max(coalesce(repo_blobs.keep_until, 0), excluded.keep_until), trashed = 0`

const visibleReferences = heldReferences + `
 WHERE ` + visibleLink

// AdoptBlobs implements meta.Adopter.
func (s *Store) AdoptBlobs(ctx context.Context, by meta.Cause, from []meta.Repo, to meta.Repo, blobs []oci.Digest) ([]oci.Digest, error) {
	if err := meta.CheckAdoption(by, from, to, blobs); err != nil || len(blobs) == 0 {
		return nil, translate(err)
	}
	blobs = slices.Compact(slices.Sorted(slices.Values(blobs)))
	var missing []oci.Digest
	err := s.writeCharged(ctx, to.Tenant, func(t *tx) (bool, error) {
		target, err := t.ensureRepository(to, hosted)
		if err != nil {
			return false, err
		}
		missing = blobs
		var adopted []oci.Digest
		for _, r := range from {
			if len(missing) == 0 {
				break
			}
			source, err := t.repository(r, either)
			if fault.Is(err, fault.NameUnknown) {
				continue
			}
			if err != nil {
				return false, err
			}
			held, _, err := t.held(visibleReferences, to.Tenant, source.id, missing, false)
			if err != nil {
				return false, err
			}
			var others []oci.Digest
			for _, d := range missing {
				if held[d] {
					adopted = append(adopted, d)
				} else {
					others = append(others, d)
				}
			}
			missing = others
		}
		if len(adopted) == 0 {
			return false, sqlmeta.ErrAlreadyDone // roll back all of it
		}
		if _, err := t.exec(linkAdopted, to.Tenant, target.id, inJSON(adopted), t.after(s.life.Grace)); err != nil {
			return false, err
		}
		for _, d := range adopted {
			of := by
			of.Op = meta.AdoptionOp(by, d)
			if err := t.event(of, to.Tenant, "blob.mount", target.target+"@"+d.String()); err != nil {
				return false, err
			}
		}
		return false, nil
	})
	return missing, err
}

const findHeld = `
SELECT rb.digest
  FROM tenants t
  JOIN registries g ON g.tenant_id = t.id AND g.id = ?2 AND g.state = 'active'
  JOIN repositories r ON r.tenant_id = t.id AND r.registry_id = g.id AND r.name = ?3 AND r.state = 'active'
  JOIN json_each(?4) j
  JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id AND rb.digest = unhex(j.value)
  JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest AND b.suspect = 0
 WHERE t.id = ?1 AND t.state = 'active' AND ` + visibleLink

// FindHeld implements meta.Adopter.
func (s *Store) FindHeld(ctx context.Context, from []meta.Repo, blobs []oci.Digest) ([]oci.Digest, error) {
	var held []oci.Digest
	for _, r := range from {
		some, err := collect(ctx, s, sqlmeta.ScanDigest, findHeld, r.Tenant, r.Registry, r.Name, inJSON(blobs))
		if err != nil {
			return nil, err
		}
		held = append(held, some...)
	}
	slices.Sort(held)
	return slices.Compact(held), nil
}

const findAdoptable = `
SELECT m.digest, m.media_type, m.payload
  FROM tenants t
  JOIN registries g ON g.tenant_id = t.id AND g.id = ?2 AND g.state = 'active'
  JOIN repositories r ON r.tenant_id = t.id AND r.registry_id = g.id AND r.name = ?3 AND r.state = 'active'
  JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = ?4
 WHERE t.id = ?1 AND t.state = 'active'`

// FindAdoptable implements meta.Adopter, with one lookup for each repository, which
// is cheaper than a longer statement.
func (s *Store) FindAdoptable(ctx context.Context, from []meta.Repo, d oci.Digest) (meta.Manifest, error) {
	var m meta.Manifest
	for _, r := range from {
		found, err := s.find(ctx, findAdoptable, []any{r.Tenant, r.Registry, r.Name, d.Bytes()}, digestScanner{&m.Digest}, &m.MediaType, &m.Payload)
		if err != nil || found {
			return m, err
		}
	}
	return m, manifestUnknown(d.String())
}
