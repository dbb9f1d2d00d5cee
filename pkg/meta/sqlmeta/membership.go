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
	selectGroupsOf = `
SELECT t.access_version, m.group_slug FROM tenants t
  LEFT JOIN group_members m ON m.tenant_id = t.id AND m.member = $2
 WHERE t.id = $1 ORDER BY m.group_slug`
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
	err := s.engine.Read(ctx, t, selectGroupsOf, []any{t, principal}, func() { names, found = nil, false }, func(scan Scan) error {
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
