package admin

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
)

// owner finds the tenant at parent; what is the deployment's has none.
func (c collection[R, M]) owner(ctx context.Context, parent string) (meta.Tenant, error) {
	if c.ofDeployment {
		return meta.Tenant{}, nil
	}
	return c.service.findTenant(ctx, "parent", parent)
}

// split returns the parent, which is empty for what is the deployment's, and the ID of a
// resource name; field is where the request carries it.
func (c collection[R, M]) split(field, name string) (string, string, error) {
	if c.ofDeployment {
		ids, err := splitName(field, name, c.name)
		if err != nil {
			return "", "", err
		}
		return "", ids[0], nil
	}
	ids, err := splitName(field, name, "tenants", c.name)
	if err != nil {
		return "", "", err
	}
	return "tenants/" + ids[0], ids[1], nil
}

// createNamed creates the resource by the name that an update has.
func (c collection[R, M]) createNamed(ctx context.Context, m M, validateOnly bool) (M, error) {
	parent, id, err := c.split(c.noun+".name", m.GetName())
	if err != nil {
		var none M
		return none, err
	}
	return c.create(ctx, parent, id, m, validateOnly)
}

// find finds by resource name; field is where the request carries it.
func (c collection[R, M]) find(ctx context.Context, field, name string) (meta.Tenant, R, error) {
	var none R
	parent, id, err := c.split(field, name)
	if err != nil {
		return meta.Tenant{}, none, err
	}
	t, err := c.owner(ctx, parent)
	if err != nil {
		return meta.Tenant{}, none, err
	}
	r, err := c.findRow(ctx, t.ID, id)
	return t, r, err
}
