package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const selectGroup = `
SELECT tenant_id, slug, members, version, created_at, updated_at FROM upstream_groups
WHERE tenant_id = $1`

func scanGroup(scan scan) (meta.Group, error) {
	var g meta.Group
	err := scan(&g.Tenant, &g.Slug, &g.Members, &g.Version, moment{&g.CreatedAt}, moment{&g.UpdatedAt})
	return g, err
}

const (
	findGroup  = selectGroup + ` AND slug = $2`
	listGroups = selectGroup + ` AND slug > $2 ORDER BY slug LIMIT $3`
)

// FindGroup implements meta.Groups.
func (s *Store) FindGroup(ctx context.Context, t tenant.ID, slug string) (meta.Group, error) {
	found, err := collect(ctx, s, t, scanGroup, findGroup, t, slug)
	return only(found, err, noGroup(slug))
}

// ListGroups implements meta.Groups.
func (s *Store) ListGroups(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Group, error) {
	return collect(ctx, s, t, scanGroup, listGroups, t, p.After, p.Size)
}

const insertGroup = `
INSERT INTO upstream_groups (tenant_id, slug, members, version, created_at, updated_at) VALUES ($1, $2, $3, 1, berth_now(), berth_now())`

// CreateGroup implements meta.Groups.
func (s *Store) CreateGroup(ctx context.Context, by meta.Cause, g meta.Group) (meta.Group, error) {
	err := s.write(ctx, g.Tenant, func(t *tx) error {
		if err := t.changeAlone(by, g.Tenant, "upstreamGroup.create", groupTarget(g.Slug)); err != nil {
			return err
		}
		if err := t.membersExist(g); err != nil {
			return err
		}
		t.means("upstream_groups_pkey", fault.New(fault.Conflict, fault.AlreadyExists, "upstream group %q exists already", g.Slug))
		t.queue(insertGroup, g.Tenant, g.Slug, list(g.Members))
		return t.within(s.opts.Limits.GroupLimit(), countGroups, g.Tenant)
	})
	if err != nil {
		return meta.Group{}, err
	}
	return s.FindGroup(ctx, g.Tenant, g.Slug)
}

// list is how members go into a statement: as an array, also when there are none.
func list(members []meta.Member) []meta.Member { return append([]meta.Member{}, members...) }

const findGroupVersion = `SELECT version FROM upstream_groups WHERE tenant_id = $1 AND slug = $2`

// changeGroup records the event of a change and checks that the group is there,
// in the version that was asked for.
func (t *tx) changeGroup(by meta.Cause, verb string, id tenant.ID, slug string, version int64) error {
	if err := t.changeAlone(by, id, verb, groupTarget(slug)); err != nil {
		return err
	}
	var have int64
	found, err := t.find(findGroupVersion, []any{id, slug}, &have)
	switch {
	case err != nil:
		return err
	case !found:
		return noGroup(slug)
	default:
		return checkVersion(have, version)
	}
}

const updateGroup = `
UPDATE upstream_groups SET members = $3, version = version + 1, updated_at = berth_now() WHERE tenant_id = $1 AND slug = $2`

// UpdateGroup implements meta.Groups.
func (s *Store) UpdateGroup(ctx context.Context, by meta.Cause, change meta.Group) (meta.Group, error) {
	err := s.write(ctx, change.Tenant, func(t *tx) error {
		if err := t.changeGroup(by, "upstreamGroup.update", change.Tenant, change.Slug, change.Version); err != nil {
			return err
		}
		if err := t.membersExist(change); err != nil {
			return err
		}
		t.queue(updateGroup, change.Tenant, change.Slug, list(change.Members))
		return nil
	})
	if err != nil {
		return meta.Group{}, err
	}
	return s.FindGroup(ctx, change.Tenant, change.Slug)
}

const (
	registryOfGroup = `
SELECT slug FROM registries
 WHERE tenant_id = $1 AND state = 'active' AND upstream_id IS NULL AND settings ->> 'upstream_group' = $2 LIMIT 1`

	deleteGroup = `DELETE FROM upstream_groups WHERE tenant_id = $1 AND slug = $2`
)

// DeleteGroup implements meta.Groups.
func (s *Store) DeleteGroup(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.write(ctx, id, func(t *tx) error {
		if err := t.changeGroup(by, "upstreamGroup.delete", id, slug, version); err != nil {
			return err
		}
		var registry string
		named, err := t.find(registryOfGroup, []any{id, slug}, &registry)
		if err != nil {
			return err
		}
		if named {
			return fault.New(fault.Conflict, fault.InUse, "registry %q names upstream group %q", registry, slug)
		}
		t.queue(deleteGroup, id, slug)
		return nil
	})
}

// The first of the named registries or upstreams that is not there.
const (
	missingRegistry = `
SELECT named.slug FROM unnest($2::text[]) WITH ORDINALITY AS named (slug, n)
 WHERE NOT EXISTS (SELECT 1 FROM registries g WHERE g.tenant_id = $1 AND g.slug = named.slug AND g.state = 'active' AND g.upstream_id IS NULL)
 ORDER BY named.n LIMIT 1`

	missingUpstream = `
SELECT named.slug FROM unnest($2::text[]) WITH ORDINALITY AS named (slug, n)
 WHERE NOT EXISTS (SELECT 1 FROM upstreams u WHERE u.tenant_id = $1 AND u.slug = named.slug)
 ORDER BY named.n LIMIT 1`
)

// membersExist refuses a group whose members are not all there.
func (t *tx) membersExist(g meta.Group) error {
	var registries, upstreams []string
	for _, m := range g.Members {
		if m.Upstream != "" {
			upstreams = append(upstreams, m.Upstream)
		} else {
			registries = append(registries, m.Registry)
		}
	}
	var registry, upstream string
	var noRegistry, noUpstream bool
	t.queue(missingRegistry, g.Tenant, registries).QueryRow(first(&noRegistry, &registry))
	t.queue(missingUpstream, g.Tenant, upstreams).QueryRow(first(&noUpstream, &upstream))
	if err := t.flush(); err != nil {
		return err
	}
	switch {
	case noRegistry:
		return fault.New(fault.Invalid, fault.ResourceUnknown, "there is no registry %q", registry).WithField("members")
	case noUpstream:
		return fault.New(fault.Invalid, fault.ResourceUnknown, "there is no upstream %q", upstream).WithField("members")
	default:
		return nil
	}
}

// $2 is the member's kind, registry or upstream.
const groupOfMember = `
SELECT g.slug FROM upstream_groups g
 WHERE g.tenant_id = $1 AND EXISTS (SELECT 1 FROM json_array_elements(g.members) AS member (value) WHERE member.value ->> $2::text = $3) LIMIT 1`

// unnamed refuses the deletion of a registry or an upstream, by kind, that a
// group names.
func (t *tx) unnamed(id tenant.ID, kind, slug string) error {
	var group string
	named, err := t.find(groupOfMember, []any{id, kind, slug}, &group)
	if err == nil && named {
		err = fault.New(fault.Conflict, fault.InUse, "upstream group %q names %s %q", group, kind, slug)
	}
	return err
}

// groupExists refuses a registry whose group is not there.
func (t *tx) groupExists(id tenant.ID, slug string) error {
	if slug == "" {
		return nil
	}
	var version int64
	found, err := t.find(findGroupVersion, []any{id, slug}, &version)
	if err == nil && !found {
		err = fault.New(fault.Invalid, fault.ResourceUnknown, "there is no upstream group %q", slug).WithField("upstream_group")
	}
	return err
}

func groupTarget(slug string) string { return "upstreamGroups/" + slug }

func noGroup(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no upstream group %q", slug)
}
