package sqlitemeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// One statement, so that all rows are of one snapshot. The third column is the
// table of the row.
const findTopology = `
SELECT r.slug, r.id, 'registry', json_object('group', coalesce(r.settings ->> 'upstream_group', ''), 'mirrored', r.settings -> 'mirror_upstreams',
       'AnonymousPull', r.settings -> 'anonymous_pull', 'AnonymousPush', r.settings -> 'anonymous_push'), 0, 0, 0, 0, 0
  FROM registries r WHERE r.tenant_id = ?1 AND r.state = 'active' AND r.upstream_id IS NULL
UNION ALL
SELECT g.slug, 0, 'group', g.members, 0, 0, 0, 0, 0 FROM upstream_groups g WHERE g.tenant_id = ?1
UNION ALL
SELECT u.slug, u.id, 'upstream', u.settings, u.cache_id, ` + sqlmeta.UnprovedCache + `, u.version, u.created_at, u.updated_at FROM upstreams u WHERE u.tenant_id = ?1`

// FindTopology implements meta.Groups.
func (s *Store) FindTopology(ctx context.Context, t tenant.ID) (meta.Topology, error) {
	top := meta.Topology{
		Registries: map[string]meta.TopologyRegistry{},
		Groups:     map[string][]meta.Member{},
		Upstreams:  map[string]meta.Upstream{},
	}
	err := s.list(ctx, findTopology, []any{t}, func(scan scan) error {
		u := meta.Upstream{Tenant: t}
		var kind, text string
		err := scan(&u.Slug, &u.ID, &kind, &text, &u.Cache, &u.Unproved, &u.Version, sqlmeta.ScanTime(&u.CreatedAt), sqlmeta.ScanTime(&u.UpdatedAt))
		if err != nil {
			return err
		}
		switch kind {
		case "registry":
			r := meta.TopologyRegistry{ID: tenant.RegistryID(u.ID)}
			err = json.Unmarshal([]byte(text), &r)
			top.Registries[u.Slug] = r
		case "group":
			var members []meta.Member
			err = json.Unmarshal([]byte(text), &members)
			top.Groups[u.Slug] = members
		default:
			err = json.Unmarshal([]byte(text), &u.Settings)
			top.Upstreams[u.Slug] = u
		}
		return err
	})
	return top, err
}
