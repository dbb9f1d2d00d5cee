package pgmeta

import (
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// mirroredExist refuses a registry that names an upstream which is not there.
func (t *tx) mirroredExist(id tenant.ID, slugs []string) error {
	if len(slugs) == 0 {
		return nil
	}
	var missing string
	found, err := t.find(missingUpstream, []any{id, slugs}, &missing)
	if err == nil && found {
		err = fault.New(fault.Invalid, fault.ResourceUnknown, "there is no upstream %q", missing).WithField("mirror_upstreams")
	}
	return err
}

const upstreamsThere = `
SELECT coalesce(array_agg(named.slug ORDER BY named.n), '{}') FROM unnest($2::text[]) WITH ORDINALITY AS named (slug, n)
 WHERE EXISTS (SELECT 1 FROM upstreams u WHERE u.tenant_id = $1 AND u.slug = named.slug)`

// stillThere are those of the upstreams that are there, in the same order.
func (t *tx) stillThere(id tenant.ID, slugs []string) ([]string, error) {
	if len(slugs) == 0 {
		return nil, nil
	}
	var there []string
	_, err := t.find(upstreamsThere, []any{id, slugs}, &there)
	return there, err
}

const registryOfMirrored = `
SELECT r.slug FROM registries r
 WHERE r.tenant_id = $1 AND r.state = 'active' AND r.upstream_id IS NULL
   AND EXISTS (SELECT 1 FROM json_array_elements_text(r.settings -> 'mirror_upstreams') AS named (slug) WHERE named.slug = $2) LIMIT 1`

// unmirrored refuses the deletion of an upstream that a registry names.
func (t *tx) unmirrored(id tenant.ID, slug string) error {
	var registry string
	named, err := t.find(registryOfMirrored, []any{id, slug}, &registry)
	if err == nil && named {
		err = fault.New(fault.Conflict, fault.InUse, "registry %q names upstream %q in mirror_upstreams", registry, slug)
	}
	return err
}
