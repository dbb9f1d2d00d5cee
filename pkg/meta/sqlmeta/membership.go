package sqlmeta

import (
	"context"
	"database/sql"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	raiseGroupsOfMember = `
UPDATE principal_groups SET version = version + 1, updated_at = berth_now()
 WHERE tenant_id = $1 AND slug IN (SELECT m.group_slug FROM group_members m WHERE m.tenant_id = $1 AND m.member = $2)`

	deleteMemberships = `DELETE FROM group_members WHERE tenant_id = $1 AND member = $2`

	// One statement, so that groups and version are of one moment.
	selectGroups = `
SELECT t.access_version, said.group_slug FROM tenants t
  LEFT JOIN (
    SELECT m.group_slug FROM group_members m WHERE m.tenant_id = $1 AND m.member = $2
     UNION
    SELECT gi.group_slug FROM accounts a
      JOIN account_identities i ON i.tenant_id = a.tenant_id AND i.account_id = a.id
      JOIN group_identities gi ON gi.tenant_id = i.tenant_id AND gi.provider_id = i.provider_id
     WHERE a.tenant_id = $1 AND a.kind = 'user' AND a.slug = $3 AND i.groups_until > berth_now() AND gi.directory_group IN (`
	ofTenant = `)
  ) said ON TRUE
 WHERE t.id = $1 ORDER BY said.group_slug`
	selectGroupsOfPostgres = selectGroups + `SELECT n.name FROM json_array_elements_text(i.directory_groups) AS n (name)` + ofTenant
	selectGroupsOfSQLite   = selectGroups + `SELECT j.value FROM json_each(i.directory_groups) j` + ofTenant
)

// leaveGroups takes a principal out of all groups: a later one of the same name inherits
// nothing, also where the groups of the first are remembered.
func leaveGroups(t Tx, id tenant.ID, principal string) error {
	n, err := t.Exec(raiseGroupsOfMember, id, principal)
	if err != nil || n == 0 {
		return err
	}
	if err := t.Queue(deleteMemberships, id, principal); err != nil {
		return err
	}
	return t.Queue(raiseAccessVersion, id)
}

// GroupsOf implements meta.PrincipalGroups.
func (s *Records) GroupsOf(ctx context.Context, t tenant.ID, principal string) ([]string, int64, error) {
	var names []string
	var version int64
	found := false
	user := ""
	if kind, slug, ok := access.AccountOf(principal); ok && kind == access.UserKind {
		user = slug
	}
	err := s.engine.Read(ctx, t, s.engine.Pick(selectGroupsOfSQLite, selectGroupsOfPostgres), []any{t, principal, user}, func() { names, found = nil, false }, func(scan Scan) error {
		var slug sql.NullString
		found = true
		err := scan(&version, &slug)
		if slug.Valid {
			names = append(names, access.GroupName(slug.String))
		}
		return err
	})
	if err == nil && !found {
		err = fault.New(fault.NotFound, fault.ResourceUnknown, "tenant not found")
	}
	return names, version, err
}
