package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const claimColumns = `
SELECT c.name, c.since, EXISTS (
         SELECT 1 FROM repositories r
          WHERE r.tenant_id = c.tenant_id AND r.registry_id = c.registry_id AND r.name = c.name AND r.state = 'active' AND r.listed)
  FROM name_claims c`

func scanClaim(scan scan) (meta.NameClaim, error) {
	var c meta.NameClaim
	err := scan(&c.Name, moment{&c.Since}, &c.InUse)
	return c, err
}

const findNameClaim = claimColumns + `
 WHERE c.tenant_id = $1 AND c.registry_id = $2 AND c.name = $3`

// FindNameClaim implements meta.NameClaims.
func (s *Store) FindNameClaim(ctx context.Context, r meta.Repo) (meta.NameClaim, error) {
	var c meta.NameClaim
	found, err := s.find(ctx, r.Tenant, findNameClaim, []any{r.Tenant, r.Registry, r.Name}, &c.Name, moment{&c.Since}, &c.InUse)
	if err == nil && !found {
		err = noClaim(r)
	}
	return c, err
}

const listNameClaims = claimColumns + `
 WHERE c.tenant_id = $1 AND c.registry_id = $2 AND c.name > $3
 ORDER BY c.name LIMIT $4`

// ListNameClaims implements meta.NameClaims.
func (s *Store) ListNameClaims(ctx context.Context, t tenant.ID, r tenant.RegistryID, p meta.Page) ([]meta.NameClaim, error) {
	return collect(ctx, s, t, scanClaim, listNameClaims, t, r, p.After, p.Size)
}

const (
	// The first push to a name makes the repository's row under a key share of the
	// registry's, and waits for this lock; so does this for one that is under way.
	lockClaimingRegistry = `
SELECT g.slug
  FROM tenants t
  JOIN registries g ON g.tenant_id = t.id AND g.id = $2 AND g.state = 'active' AND g.upstream_id IS NULL
 WHERE t.id = $1 AND t.state = 'active'
   FOR UPDATE OF g`

	// It waits for the writers in flight.
	lockClaimedRepository = `
SELECT listed FROM repositories WHERE tenant_id = $1 AND registry_id = $2 AND name = $3 AND state = 'active' FOR UPDATE`

	deleteNameClaim = `DELETE FROM name_claims WHERE tenant_id = $1 AND registry_id = $2 AND name = $3`
)

// ReleaseNameClaim implements meta.NameClaims.
func (s *Store) ReleaseNameClaim(ctx context.Context, by meta.Cause, r meta.Repo) error {
	return s.write(ctx, r.Tenant, func(t *tx) error {
		if err := t.done(by, r.Tenant); err != nil {
			return err
		}
		var slug string
		found, err := t.find(lockClaimingRegistry, []any{r.Tenant, r.Registry}, &slug)
		if err != nil {
			return err
		}
		if !found {
			return noClaim(r)
		}
		var held bool
		if _, err := t.find(lockClaimedRepository, []any{r.Tenant, r.Registry, r.Name}, &held); err != nil {
			return err
		}
		if held {
			return claimInUse(r)
		}
		n, err := t.exec(deleteNameClaim, r.Tenant, r.Registry, r.Name)
		if err != nil {
			return err
		}
		if n == 0 {
			return noClaim(r)
		}
		return t.event(by, r.Tenant, "nameClaim.release", registryTarget(slug)+"/nameClaims/"+r.Name)
	})
}

func noClaim(r meta.Repo) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "the registry does not claim the name %q", r.Name)
}

func claimInUse(r meta.Repo) error {
	return fault.New(fault.Conflict, fault.InUse, "the registry holds manifests under the name %q; delete the repository first", r.Name)
}
