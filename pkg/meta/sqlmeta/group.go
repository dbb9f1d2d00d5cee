package sqlmeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectGroup = `
SELECT tenant_id, slug, members, version, created_at, updated_at FROM upstream_groups
WHERE tenant_id = $1`

	findGroup  = selectGroup + ` AND slug = $2`
	listGroups = selectGroup + ` AND slug > $2 ORDER BY slug LIMIT $3`

	insertGroup = `
INSERT INTO upstream_groups (tenant_id, slug, members, version, created_at, updated_at) VALUES ($1, $2, $3, 1, berth_now(), berth_now())`

	findGroupVersion = `SELECT version FROM upstream_groups WHERE tenant_id = $1 AND slug = $2`

	updateGroup = `
UPDATE upstream_groups SET members = $3, version = version + 1, updated_at = berth_now() WHERE tenant_id = $1 AND slug = $2`

	deleteGroup = `DELETE FROM upstream_groups WHERE tenant_id = $1 AND slug = $2`
)

func scanGroup(scan Scan) (meta.Group, error) {
	var g meta.Group
	err := scan(&g.Tenant, &g.Slug, jsonScanner{&g.Members}, &g.Version, timeScanner{&g.CreatedAt}, timeScanner{&g.UpdatedAt})
	return g, err
}

// FindGroup implements meta.Groups.
func (s *Records) FindGroup(ctx context.Context, t tenant.ID, slug string) (meta.Group, error) {
	return find(ctx, s, t, noGroup(slug), scanGroup, findGroup, t, slug)
}

// ListGroups implements meta.Groups.
func (s *Records) ListGroups(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Group, error) {
	return list(ctx, s, t, scanGroup, listGroups, t, p.After, p.Size)
}

// encodeMembers encodes no members as an empty array.
func encodeMembers(members []meta.Member) (string, error) {
	encoded, err := json.Marshal(append([]meta.Member{}, members...))
	return string(encoded), err
}

// CreateGroup implements meta.Groups.
func (s *Records) CreateGroup(ctx context.Context, by meta.Cause, g meta.Group) (meta.Group, error) {
	err := s.engine.Write(ctx, g.Tenant, func(t Tx) error {
		members, err := encodeMembers(g.Members)
		if err != nil {
			return err
		}
		if err := beginAlone(t, by, g.Tenant, "upstreamGroup.create", groupTarget(g.Slug)); err != nil {
			return err
		}
		if err := checkMembers(t, g); err != nil {
			return err
		}
		t.OnViolation("upstream_groups_pkey", fault.New(fault.Conflict, fault.AlreadyExists, "upstream group %q exists already", g.Slug))
		if err := t.Queue(insertGroup, g.Tenant, g.Slug, members); err != nil {
			return err
		}
		return checkLimit(t, s.limits.GroupLimit(), countGroups, g.Tenant)
	})
	if err != nil {
		return meta.Group{}, err
	}
	return s.FindGroup(ctx, g.Tenant, g.Slug)
}

func groupVersion(t Tx, id tenant.ID, slug string) (int64, error) {
	var version int64
	found, err := t.Find(findGroupVersion, []any{id, slug}, &version)
	if err == nil && !found {
		err = noGroup(slug)
	}
	return version, err
}

// beginGroupChange records the event of a change and checks that the group exists
// in the expected version.
func beginGroupChange(t Tx, by meta.Cause, verb string, id tenant.ID, slug string, version int64) error {
	if err := beginAlone(t, by, id, verb, groupTarget(slug)); err != nil {
		return err
	}
	have, err := groupVersion(t, id, slug)
	if err != nil {
		return err
	}
	return checkVersion(have, version)
}

// UpdateGroup implements meta.Groups.
func (s *Records) UpdateGroup(ctx context.Context, by meta.Cause, g meta.Group) (meta.Group, error) {
	err := s.engine.Write(ctx, g.Tenant, func(t Tx) error {
		members, err := encodeMembers(g.Members)
		if err != nil {
			return err
		}
		if err := beginGroupChange(t, by, "upstreamGroup.update", g.Tenant, g.Slug, g.Version); err != nil {
			return err
		}
		if err := checkMembers(t, g); err != nil {
			return err
		}
		return t.Queue(updateGroup, g.Tenant, g.Slug, members)
	})
	if err != nil {
		return meta.Group{}, err
	}
	return s.FindGroup(ctx, g.Tenant, g.Slug)
}

// DeleteGroup implements meta.Groups.
func (s *Records) DeleteGroup(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		if err := beginGroupChange(t, by, "upstreamGroup.delete", id, slug, version); err != nil {
			return err
		}
		var registry string
		named, err := t.Find(registryOfGroup, []any{id, slug}, &registry)
		if err != nil {
			return err
		}
		if named {
			return fault.New(fault.Conflict, fault.InUse, "registry %q names upstream group %q; set its upstream_group to \"\" or to another first", registry, slug)
		}
		if err := checkNoMirrorHost(t, id, mirrorHostOfGroup, "upstream group", slug); err != nil {
			return err
		}
		return t.Queue(deleteGroup, id, slug)
	})
}

func groupTarget(slug string) string { return "upstreamGroups/" + slug }

func noGroup(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no upstream group %q", slug)
}
