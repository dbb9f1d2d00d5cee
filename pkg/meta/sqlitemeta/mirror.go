package sqlitemeta

import (
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// mirroredExist refuses a registry that names an upstream which is not there.
func (t *tx) mirroredExist(id tenant.ID, slugs []string) error {
	there, err := t.stillThere(id, slugs)
	if err != nil {
		return err
	}
	for i, slug := range slugs {
		if i >= len(there) || there[i] != slug {
			return fault.New(fault.Invalid, fault.ResourceUnknown, "there is no upstream %q", slug).WithField("mirror_upstreams")
		}
	}
	return nil
}

// stillThere are those of the upstreams that are there, in the same order.
func (t *tx) stillThere(id tenant.ID, slugs []string) ([]string, error) {
	var there []string
	for _, slug := range slugs {
		var u tenant.UpstreamID
		var version int64
		found, err := t.find(findUpstreamID, []any{id, slug}, &u, &version)
		if err != nil {
			return nil, err
		}
		if found {
			there = append(there, slug)
		}
	}
	return there, nil
}

const registryOfMirrored = `
SELECT r.slug FROM registries r
 WHERE r.tenant_id = ?1 AND r.state = 'active' AND r.upstream_id IS NULL
   AND EXISTS (SELECT 1 FROM json_each(r.settings, '$.mirror_upstreams') j WHERE j.value = ?2) LIMIT 1`

// unmirrored refuses the deletion of an upstream that a registry names.
func (t *tx) unmirrored(id tenant.ID, slug string) error {
	var registry string
	named, err := t.find(registryOfMirrored, []any{id, slug}, &registry)
	if err == nil && named {
		err = fault.New(fault.Conflict, fault.InUse, "registry %q names upstream %q in mirror_upstreams", registry, slug)
	}
	return err
}
