package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectClaim = `
SELECT c.name, c.since, EXISTS (
         SELECT 1 FROM repositories r
          WHERE r.tenant_id = c.tenant_id AND r.registry_id = c.registry_id AND r.name = c.name AND r.state = 'active' AND r.listed)
  FROM name_claims c
 WHERE c.tenant_id = $1 AND c.registry_id = $2`

	findNameClaim  = selectClaim + ` AND c.name = $3`
	listNameClaims = selectClaim + ` AND c.name > $3 ORDER BY c.name LIMIT $4`

	// The first push to a name inserts the repository under a key share lock of the
	// registry: it and this statement wait for each other.
	findClaimingRegistry = `
SELECT g.slug
  FROM tenants t
  JOIN registries g ON g.tenant_id = t.id AND g.id = $2 AND g.state = 'active' AND g.upstream_id IS NULL
 WHERE t.id = $1 AND t.state = 'active'`
	lockClaimingRegistry = findClaimingRegistry + ` FOR UPDATE OF g`

	// It waits for the writers in flight.
	findClaimedRepository = `
SELECT listed FROM repositories WHERE tenant_id = $1 AND registry_id = $2 AND name = $3 AND state = 'active'`
	lockClaimedRepository = findClaimedRepository + ` FOR UPDATE`

	deleteNameClaim = `DELETE FROM name_claims WHERE tenant_id = $1 AND registry_id = $2 AND name = $3`
)

func scanClaim(scan Scan) (meta.NameClaim, error) {
	var c meta.NameClaim
	err := scan(&c.Name, timeScanner{&c.Since}, &c.InUse)
	return c, err
}

// FindNameClaim implements meta.NameClaims.
func (s *Records) FindNameClaim(ctx context.Context, r meta.Repo) (meta.NameClaim, error) {
	return find(ctx, s, r.Tenant, noClaim(r), scanClaim, findNameClaim, r.Tenant, r.Registry, r.Name)
}

// ListNameClaims implements meta.NameClaims.
func (s *Records) ListNameClaims(ctx context.Context, t tenant.ID, r tenant.RegistryID, p meta.Page) ([]meta.NameClaim, error) {
	return list(ctx, s, t, scanClaim, listNameClaims, t, r, p.After, p.Size)
}

// ReleaseNameClaim implements meta.NameClaims.
func (s *Records) ReleaseNameClaim(ctx context.Context, by meta.Cause, r meta.Repo) error {
	return s.engine.Write(ctx, r.Tenant, func(t Tx) error {
		if err := AlreadyDone(t, by, r.Tenant); err != nil {
			return err
		}
		var slug string
		found, err := t.Find(t.Pick(findClaimingRegistry, lockClaimingRegistry), []any{r.Tenant, r.Registry}, &slug)
		if err != nil {
			return err
		}
		if !found {
			return noClaim(r)
		}
		var inUse bool
		if _, err := t.Find(t.Pick(findClaimedRepository, lockClaimedRepository), []any{r.Tenant, r.Registry, r.Name}, &inUse); err != nil {
			return err
		}
		if inUse {
			return fault.New(fault.Conflict, fault.InUse, "the registry holds manifests under the name %q; delete the repository first", r.Name)
		}
		if err := change(t, noClaim(r), deleteNameClaim, r.Tenant, r.Registry, r.Name); err != nil {
			return err
		}
		return Event(t, by, r.Tenant, "nameClaim.release", RegistryTarget(slug)+"/nameClaims/"+r.Name)
	})
}

func noClaim(r meta.Repo) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "the registry does not claim the name %q", r.Name)
}
