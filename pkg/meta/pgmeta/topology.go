package pgmeta

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// All statements of such a transaction see one moment.
const beginSnapshot = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`

const (
	topologyRegistries = `
SELECT slug, id, coalesce(settings ->> 'upstream_group', ''), coalesce(settings -> 'mirror_upstreams', 'null'),
       coalesce((settings ->> 'anonymous_pull')::boolean, false), coalesce((settings ->> 'anonymous_push')::boolean, false)
  FROM registries WHERE tenant_id = $1 AND state = 'active' AND upstream_id IS NULL`

	topologyGroups = `SELECT slug, members FROM upstream_groups WHERE tenant_id = $1`

	topologyUpstreams = `
SELECT id, tenant_id, slug, settings, cache_id, ` + sqlmeta.UnprovedCache + `, '{}'::json, version, created_at, updated_at FROM upstreams u WHERE tenant_id = $1`
)

// FindTopology implements meta.Groups, in one round trip.
func (s *Store) FindTopology(ctx context.Context, t tenant.ID) (meta.Topology, error) {
	var top meta.Topology
	err := s.read(ctx, t, func(ctx context.Context, c *pgx.Conn) error {
		top = meta.Topology{
			Registries: map[string]meta.TopologyRegistry{},
			Groups:     map[string][]meta.Member{},
			Upstreams:  map[string]meta.Upstream{},
		}
		b := &pgx.Batch{}
		b.Queue(beginSnapshot)
		b.Queue(topologyRegistries, t).Query(each(func(scan scan) error {
			var slug string
			var r meta.TopologyRegistry
			err := scan(&slug, &r.ID, &r.Group, &r.Mirrored, &r.AnonymousPull, &r.AnonymousPush)
			top.Registries[slug] = r
			return err
		}))
		b.Queue(topologyGroups, t).Query(each(func(scan scan) error {
			var slug string
			var members []meta.Member
			err := scan(&slug, &members)
			top.Groups[slug] = members
			return err
		}))
		b.Queue(topologyUpstreams, t).Query(each(func(scan scan) error {
			u, err := sqlmeta.ScanUpstream(scan)
			top.Upstreams[u.Slug] = u
			return err
		}))
		b.Queue(commitTx)
		return c.SendBatch(ctx, b).Close()
	})
	return top, err
}
