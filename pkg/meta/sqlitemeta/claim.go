package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const claimColumns = `
SELECT c.name, c.since, EXISTS (
         SELECT 1 FROM repositories r
          WHERE r.tenant_id = c.tenant_id AND r.registry_id = c.registry_id AND r.name = c.name AND r.state = 'active' AND r.listed = 1)
  FROM name_claims c`

func scanClaim(scan scan) (meta.NameClaim, error) {
	var c meta.NameClaim
	err := scan(&c.Name, moment{&c.Since}, &c.InUse)
	return c, err
}

const findNameClaim = claimColumns + `
 WHERE c.tenant_id = ?1 AND c.registry_id = ?2 AND c.name = ?3`

// FindNameClaim implements meta.NameClaims.
func (s *Store) FindNameClaim(ctx context.Context, r meta.Repo) (meta.NameClaim, error) {
	var c meta.NameClaim
	found, err := s.find(ctx, findNameClaim, []any{r.Tenant, r.Registry, r.Name}, &c.Name, moment{&c.Since}, &c.InUse)
	if err == nil && !found {
		err = noClaim(r)
	}
	return c, err
}

const listNameClaims = claimColumns + `
 WHERE c.tenant_id = ?1 AND c.registry_id = ?2 AND c.name > ?3
 ORDER BY c.name LIMIT ?4`

// ListNameClaims implements meta.NameClaims.
func (s *Store) ListNameClaims(ctx context.Context, t tenant.ID, r tenant.RegistryID, p meta.Page) ([]meta.NameClaim, error) {
	return collect(ctx, s, scanClaim, listNameClaims, t, r, p.After, p.Size)
}

const (
	claimingRegistry = `
SELECT g.slug
  FROM tenants t
  JOIN registries g ON g.tenant_id = t.id AND g.id = ?2 AND g.state = 'active' AND g.upstream_id IS NULL
 WHERE t.id = ?1 AND t.state = 'active'`

	deleteNameClaim = `DELETE FROM name_claims WHERE tenant_id = ?1 AND registry_id = ?2 AND name = ?3`
)

// ReleaseNameClaim implements meta.NameClaims.
func (s *Store) ReleaseNameClaim(ctx context.Context, by meta.Cause, r meta.Repo) error {
	return s.writeFor(ctx, r.Tenant, func(t *tx) error {
		if err := t.committed(by, r.Tenant); err != nil {
			return err
		}
		var slug string
		found, err := t.find(claimingRegistry, []any{r.Tenant, r.Registry}, &slug)
		if err != nil {
			return err
		}
		var c meta.NameClaim
		if found {
			found, err = t.find(findNameClaim, []any{r.Tenant, r.Registry, r.Name}, &c.Name, moment{&c.Since}, &c.InUse)
		}
		switch {
		case err != nil:
			return err
		case !found:
			return noClaim(r)
		case c.InUse:
			return claimInUse(r)
		}
		if err := t.event(by, r.Tenant, "nameClaim.release", registryTarget(slug)+"/nameClaims/"+r.Name); err != nil {
			return err
		}
		_, err = t.exec(deleteNameClaim, r.Tenant, r.Registry, r.Name)
		return err
	})
}

func noClaim(r meta.Repo) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "the registry does not claim the name %q", r.Name)
}

func claimInUse(r meta.Repo) error {
	return fault.New(fault.Conflict, fault.InUse, "the registry holds manifests under the name %q; delete the repository first", r.Name)
}
