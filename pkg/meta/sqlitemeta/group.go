package sqlitemeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const selectGroup = `
SELECT tenant_id, slug, members, version, created_at, updated_at FROM upstream_groups
WHERE tenant_id = ?1`

func scanGroup(scan scan) (meta.Group, error) {
	var g meta.Group
	err := scan(&g.Tenant, &g.Slug, document{&g.Members}, &g.Version, moment{&g.CreatedAt}, moment{&g.UpdatedAt})
	return g, err
}

const (
	findGroup  = selectGroup + ` AND slug = ?2`
	listGroups = selectGroup + ` AND slug > ?2 ORDER BY slug LIMIT ?3`
)

// FindGroup implements meta.Groups.
func (s *Store) FindGroup(ctx context.Context, t tenant.ID, slug string) (meta.Group, error) {
	found, err := collect(ctx, s, scanGroup, findGroup, t, slug)
	return only(found, err, noGroup(slug))
}

// ListGroups implements meta.Groups.
func (s *Store) ListGroups(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Group, error) {
	return collect(ctx, s, scanGroup, listGroups, t, p.After, p.Size)
}

const insertGroup = `
INSERT INTO upstream_groups (tenant_id, slug, members, version, created_at, updated_at) VALUES (?1, ?2, ?3, 1, ?4, ?4)`

// CreateGroup implements meta.Groups.
func (s *Store) CreateGroup(ctx context.Context, by meta.Cause, g meta.Group) (meta.Group, error) {
	encoded, err := json.Marshal(g.Members)
	if err != nil {
		return meta.Group{}, translate(err)
	}
	err = s.writeFor(ctx, g.Tenant, func(t *tx) error {
		if err := t.change(by, g.Tenant, "upstreamGroup.create", groupTarget(g.Slug)); err != nil {
			return err
		}
		if err := t.membersExist(g); err != nil {
			return err
		}
		_, err := t.exec(insertGroup, g.Tenant, g.Slug, string(encoded), t.now)
		if violatesUnique(err) {
			return fault.Wrap(err, fault.Conflict, fault.AlreadyExists, "upstream group %q exists already", g.Slug)
		}
		if err != nil {
			return err
		}
		return t.within(s.opts.Limits.GroupLimit(), countGroups, g.Tenant)
	})
	if err != nil {
		return meta.Group{}, err
	}
	return s.FindGroup(ctx, g.Tenant, g.Slug)
}

const findGroupVersion = `SELECT version FROM upstream_groups WHERE tenant_id = ?1 AND slug = ?2`

// changeGroup records the event of a change and checks that the group is there,
// in the version that was asked for.
func (t *tx) changeGroup(by meta.Cause, verb string, id tenant.ID, slug string, version int64) error {
	if err := t.change(by, id, verb, groupTarget(slug)); err != nil {
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
UPDATE upstream_groups SET members = ?3, version = version + 1, updated_at = ?4 WHERE tenant_id = ?1 AND slug = ?2`

// UpdateGroup implements meta.Groups.
func (s *Store) UpdateGroup(ctx context.Context, by meta.Cause, change meta.Group) (meta.Group, error) {
	encoded, err := json.Marshal(change.Members)
	if err != nil {
		return meta.Group{}, translate(err)
	}
	err = s.writeFor(ctx, change.Tenant, func(t *tx) error {
		if err := t.changeGroup(by, "upstreamGroup.update", change.Tenant, change.Slug, change.Version); err != nil {
			return err
		}
		if err := t.membersExist(change); err != nil {
			return err
		}
		_, err := t.exec(updateGroup, change.Tenant, change.Slug, string(encoded), t.now)
		return err
	})
	if err != nil {
		return meta.Group{}, err
	}
	return s.FindGroup(ctx, change.Tenant, change.Slug)
}

const (
	registryOfGroup = `
SELECT r.slug FROM registries r
 WHERE r.tenant_id = ?1 AND r.state = 'active' AND r.settings ->> 'upstream_group' = ?2 LIMIT 1`

	deleteGroup = `DELETE FROM upstream_groups WHERE tenant_id = ?1 AND slug = ?2`
)

// DeleteGroup implements meta.Groups.
func (s *Store) DeleteGroup(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.writeFor(ctx, id, func(t *tx) error {
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
		_, err = t.exec(deleteGroup, id, slug)
		return err
	})
}

// membersExist refuses a group whose members are not all there.
func (t *tx) membersExist(g meta.Group) error {
	for _, m := range g.Members {
		kind, query, slug := "registry", findRegistryID, m.Registry
		if m.Upstream != "" {
			kind, query, slug = "upstream", findUpstreamID, m.Upstream
		}
		var id, version int64
		found, err := t.find(query, []any{g.Tenant, slug}, &id, &version)
		if err != nil {
			return err
		}
		if !found {
			return fault.New(fault.Invalid, fault.ResourceUnknown, "there is no %s %q", kind, slug).WithField("members")
		}
	}
	return nil
}

const groupOfMember = `
SELECT g.slug FROM upstream_groups g
 WHERE g.tenant_id = ?1 AND EXISTS (SELECT 1 FROM json_each(g.members) j WHERE j.value ->> ?2 = ?3) LIMIT 1`

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
