package sqlmeta

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	principalGroupColumns = `SELECT g.tenant_id, g.slug, g.display_name, g.version, g.created_at, g.updated_at, `
	ofTheGroup            = `FROM group_members m WHERE m.tenant_id = g.tenant_id AND m.group_slug = g.slug`
	identitiesOfTheGroup  = `FROM group_identities i WHERE i.tenant_id = g.tenant_id AND i.group_slug = g.slug`
	fromPrincipalGroups   = ` FROM principal_groups g WHERE g.tenant_id = $1`
	oneBySlug             = ` AND g.slug = $2`
	pageBySlug            = ` AND g.slug > $2 ORDER BY g.slug LIMIT $3`

	selectPrincipalGroupPostgres = principalGroupColumns + `(SELECT coalesce(json_agg(m.member), '[]') ` + ofTheGroup + `),
 (SELECT coalesce(json_agg(json_build_object('provider', i.provider_id, 'group', i.directory_group)), '[]') ` + identitiesOfTheGroup + `)` + fromPrincipalGroups
	selectPrincipalGroupSQLite = principalGroupColumns + `(SELECT json_group_array(m.member) ` + ofTheGroup + `),
 (SELECT json_group_array(json_object('provider', i.provider_id, 'group', i.directory_group)) ` + identitiesOfTheGroup + `)` + fromPrincipalGroups
	findPrincipalGroupPostgres  = selectPrincipalGroupPostgres + oneBySlug
	findPrincipalGroupSQLite    = selectPrincipalGroupSQLite + oneBySlug
	listPrincipalGroupsPostgres = selectPrincipalGroupPostgres + pageBySlug
	listPrincipalGroupsSQLite   = selectPrincipalGroupSQLite + pageBySlug

	insertPrincipalGroup = `
INSERT INTO principal_groups (tenant_id, slug, display_name, version, created_at, updated_at) VALUES ($1, $2, $3, 1, berth_now(), berth_now())`

	findPrincipalGroupVersion = `SELECT version FROM principal_groups WHERE tenant_id = $1 AND slug = $2`

	updatePrincipalGroup = `
UPDATE principal_groups SET display_name = $3, version = version + 1, updated_at = berth_now() WHERE tenant_id = $1 AND slug = $2`

	deletePrincipalGroup = `DELETE FROM principal_groups WHERE tenant_id = $1 AND slug = $2`

	deleteGroupMembers = `DELETE FROM group_members WHERE tenant_id = $1 AND group_slug = $2`

	insertGroupMembersPostgres = `
INSERT INTO group_members (tenant_id, member, group_slug)
SELECT $1::bigint, n.value ->> 'name', $2::text FROM json_array_elements($3::json) AS n (value)`
	insertGroupMembersSQLite = `
INSERT INTO group_members (tenant_id, member, group_slug) SELECT $1, j.value ->> 'name', $2 FROM json_each($3) j`

	deleteGroupIdentities = `DELETE FROM group_identities WHERE tenant_id = $1 AND group_slug = $2`

	insertGroupIdentitiesPostgres = `
INSERT INTO group_identities (tenant_id, provider_id, directory_group, group_slug)
SELECT $1::bigint, CAST(n.value ->> 'provider' AS bigint), n.value ->> 'group', $2::text FROM json_array_elements($3::json) AS n (value)`
	insertGroupIdentitiesSQLite = `
INSERT INTO group_identities (tenant_id, provider_id, directory_group, group_slug)
SELECT $1, j.value ->> 'provider', j.value ->> 'group', $2 FROM json_each($3) j`

	// The index of the first member that is not an account of the tenant.
	missingMemberPostgres = `
SELECT n.at - 1 FROM json_array_elements($2::json) WITH ORDINALITY AS n (value, at)
 WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE a.tenant_id = $1 AND a.slug = n.value ->> 'slug' AND a.kind = n.value ->> 'kind')
 ORDER BY n.at LIMIT 1`
	missingMemberSQLite = `
SELECT j.key FROM json_each($2) j
 WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE a.tenant_id = $1 AND a.slug = j.value ->> 'slug' AND a.kind = j.value ->> 'kind') LIMIT 1` // json_each is in order
)

func scanPrincipalGroup(scan Scan) (meta.PrincipalGroup, error) {
	var g meta.PrincipalGroup
	err := scan(&g.Tenant, &g.Slug, &g.DisplayName, &g.Version, timeScanner{&g.CreatedAt}, timeScanner{&g.UpdatedAt}, jsonScanner{&g.Members}, jsonScanner{&g.Identities})
	slices.Sort(g.Members)
	if slices.SortFunc(g.Identities, meta.GroupIdentity.Compare); len(g.Identities) == 0 {
		g.Identities = nil
	}
	return g, err
}

// FindPrincipalGroup implements meta.PrincipalGroups.
func (s *Records) FindPrincipalGroup(ctx context.Context, t tenant.ID, slug string) (meta.PrincipalGroup, error) {
	return find(ctx, s, t, noPrincipalGroup(slug), scanPrincipalGroup, s.engine.Pick(findPrincipalGroupSQLite, findPrincipalGroupPostgres), t, slug)
}

// ListPrincipalGroups implements meta.PrincipalGroups.
func (s *Records) ListPrincipalGroups(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.PrincipalGroup, error) {
	return list(ctx, s, t, scanPrincipalGroup, s.engine.Pick(listPrincipalGroupsSQLite, listPrincipalGroupsPostgres), t, p.After, p.Size)
}

// memberAccount is a member in the JSON of a statement.
type memberAccount struct {
	Name string      `json:"name"`
	Kind access.Kind `json:"kind"`
	Slug string      `json:"slug"`
}

// putMembers makes these the members of a group, by name and by identity, which has none. An unknown one is refused.
func putMembers(t Tx, g meta.PrincipalGroup) error {
	accounts := make([]memberAccount, len(g.Members))
	for i, name := range g.Members {
		kind, slug, _ := access.AccountOf(name)
		accounts[i] = memberAccount{name, kind, slug}
	}
	encoded, err := json.Marshal(accounts)
	if err != nil {
		return err
	}
	var at int64
	absent, err := t.Find(t.Pick(missingMemberSQLite, missingMemberPostgres), []any{g.Tenant, string(encoded)}, &at)
	if err != nil {
		return err
	}
	if absent {
		return fault.New(fault.Invalid, fault.ResourceUnknown, "there is no account %q", g.Members[at]).WithField(fmt.Sprintf("members[%d]", at))
	}
	if err := t.Queue(t.Pick(insertGroupMembersSQLite, insertGroupMembersPostgres), g.Tenant, g.Slug, string(encoded)); err != nil {
		return err
	}
	identities, err := json.Marshal(append([]meta.GroupIdentity{}, g.Identities...)) // never null
	if err != nil {
		return err
	}
	if err := t.Queue(t.Pick(insertGroupIdentitiesSQLite, insertGroupIdentitiesPostgres), g.Tenant, g.Slug, string(identities)); err != nil {
		return err
	}
	return t.Queue(raiseAccessVersion, g.Tenant)
}

// CreatePrincipalGroup implements meta.PrincipalGroups.
func (s *Records) CreatePrincipalGroup(ctx context.Context, by meta.Cause, g meta.PrincipalGroup) (meta.PrincipalGroup, error) {
	err := s.engine.Write(ctx, g.Tenant, func(t Tx) error {
		if err := beginAlone(t, by, g.Tenant, "group.create", access.GroupName(g.Slug)); err != nil {
			return err
		}
		t.OnViolation("principal_groups_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "group %q exists already", g.Slug))
		if err := t.Queue(insertPrincipalGroup, g.Tenant, g.Slug, g.DisplayName); err != nil {
			return err
		}
		if err := putMembers(t, g); err != nil {
			return err
		}
		return checkLimit(t, s.limits.PrincipalGroupLimit(), countPrincipalGroups, g.Tenant)
	})
	if err != nil {
		return meta.PrincipalGroup{}, err
	}
	return s.FindPrincipalGroup(ctx, g.Tenant, g.Slug)
}

// beginPrincipalGroupChange records the event of a change, and checks that the group exists
// in the expected version.
func beginPrincipalGroupChange(t Tx, by meta.Cause, verb string, id tenant.ID, slug string, version int64) error {
	if err := beginAlone(t, by, id, verb, access.GroupName(slug)); err != nil {
		return err
	}
	var have int64
	found, err := t.Find(findPrincipalGroupVersion, []any{id, slug}, &have)
	switch {
	case err != nil:
		return err
	case !found:
		return noPrincipalGroup(slug)
	default:
		return checkVersion(have, version)
	}
}

// UpdatePrincipalGroup implements meta.PrincipalGroups.
func (s *Records) UpdatePrincipalGroup(ctx context.Context, by meta.Cause, g meta.PrincipalGroup) (meta.PrincipalGroup, error) {
	err := s.engine.Write(ctx, g.Tenant, func(t Tx) error {
		if err := beginPrincipalGroupChange(t, by, "group.update", g.Tenant, g.Slug, g.Version); err != nil {
			return err
		}
		if err := t.Queue(updatePrincipalGroup, g.Tenant, g.Slug, g.DisplayName); err != nil {
			return err
		}
		for _, statement := range []string{deleteGroupMembers, deleteGroupIdentities} {
			if err := t.Queue(statement, g.Tenant, g.Slug); err != nil {
				return err
			}
		}
		return putMembers(t, g)
	})
	if err != nil {
		return meta.PrincipalGroup{}, err
	}
	return s.FindPrincipalGroup(ctx, g.Tenant, g.Slug)
}

// DeletePrincipalGroup implements meta.PrincipalGroups.
func (s *Records) DeletePrincipalGroup(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		if err := beginPrincipalGroupChange(t, by, "group.delete", id, slug, version); err != nil {
			return err
		}
		if err := checkNoRuleNames(t, id, rulePrincipals, access.GroupName(slug)); err != nil {
			return err
		}
		if err := t.Queue(deletePrincipalGroup, id, slug); err != nil {
			return err
		}
		return t.Queue(raiseAccessVersion, id)
	})
}

func noPrincipalGroup(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no group %q", slug)
}
