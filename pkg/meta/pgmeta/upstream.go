package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const selectUpstream = `
SELECT id, tenant_id, slug, settings, cache_id, status, version, created_at, updated_at FROM upstreams
WHERE tenant_id = $1`

func scanUpstream(scan scan) (meta.Upstream, error) {
	var u meta.Upstream
	err := scan(&u.ID, &u.Tenant, &u.Slug, &u.Settings, &u.Cache, &u.Status, &u.Version, moment{&u.CreatedAt}, moment{&u.UpdatedAt})
	return u, err
}

const (
	findUpstream  = selectUpstream + ` AND slug = $2`
	listUpstreams = selectUpstream + ` AND slug > $2 ORDER BY slug LIMIT $3`
)

// FindUpstream implements meta.Upstreams.
func (s *Store) FindUpstream(ctx context.Context, t tenant.ID, slug string) (meta.Upstream, error) {
	found, err := collect(ctx, s, t, scanUpstream, findUpstream, t, slug)
	return only(found, err, noUpstream(slug))
}

// ListUpstreams implements meta.Upstreams.
func (s *Store) ListUpstreams(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Upstream, error) {
	return collect(ctx, s, t, scanUpstream, listUpstreams, t, p.After, p.Size)
}

const insertUpstream = `
INSERT INTO upstreams (tenant_id, slug, settings, status, version, created_at, updated_at) VALUES ($1, $2, $3, '{}', 1, berth_now(), berth_now())
RETURNING id`

// CreateUpstream implements meta.Upstreams.
func (s *Store) CreateUpstream(ctx context.Context, by meta.Cause, u meta.Upstream) (meta.Upstream, error) {
	err := s.write(ctx, u.Tenant, func(t *tx) error {
		if err := t.changeAlone(by, u.Tenant, "upstream.create", upstreamTarget(u.Slug)); err != nil {
			return err
		}
		t.means("upstreams_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "upstream %q exists already", u.Slug))
		var id tenant.UpstreamID
		if _, err := t.find(insertUpstream, []any{u.Tenant, u.Slug, u.Settings}, &id); err != nil {
			return err
		}
		t.makeCache(u.Tenant, id)
		if err := t.within(s.opts.Limits.UpstreamLimit(), countUpstreams, u.Tenant); err != nil {
			return err
		}
		return t.within(s.opts.Limits.CacheLimit(), countCaches, u.Tenant)
	})
	if err != nil {
		return meta.Upstream{}, err
	}
	return s.FindUpstream(ctx, u.Tenant, u.Slug)
}

const (
	// It waits for those who are making a repository there.
	lockCacheToDelete = `
SELECT 1 FROM registries WHERE tenant_id = $1 AND upstream_id = $2 AND state = 'active' FOR UPDATE`

	deleteCache = `
UPDATE registries SET state = 'deleting', version = version + 1, updated_at = berth_now()
 WHERE tenant_id = $1 AND upstream_id = $2 AND state = 'active'`

	insertCache = `
INSERT INTO registries (tenant_id, slug, settings, state, version, created_at, updated_at, upstream_id)
SELECT u.tenant_id, 'upstream/' || u.id || '/' || u.version, '{}', 'active', 1, berth_now(), berth_now(), u.id
  FROM upstreams u WHERE u.tenant_id = $1 AND u.id = $2`

	pointUpstream = `
UPDATE upstreams u SET cache_id = g.id FROM registries g
 WHERE u.tenant_id = $1 AND u.id = $2 AND g.tenant_id = $1 AND g.upstream_id = $2 AND g.state = 'active'`
)

// makeCache queues an empty cache registry for the upstream, in its present
// version.
func (t *tx) makeCache(id tenant.ID, u tenant.UpstreamID) {
	t.queue(insertCache, id, u)
	t.queue(pointUpstream, id, u)
}

// giveUpCache queues the end of the upstream's cache registry.
func (t *tx) giveUpCache(id tenant.ID, u tenant.UpstreamID) {
	t.queue(lockCacheToDelete, id, u)
	t.queue(deleteCache, id, u)
}

const lockUpstream = `SELECT id, version FROM upstreams WHERE tenant_id = $1 AND slug = $2 FOR UPDATE`

// upstream locks an upstream and finds its id, in the version that was asked for.
func (t *tx) upstream(id tenant.ID, slug string, version int64) (tenant.UpstreamID, error) {
	var u tenant.UpstreamID
	var have int64
	found, err := t.find(lockUpstream, []any{id, slug}, &u, &have)
	switch {
	case err != nil:
		return 0, err
	case !found:
		return 0, noUpstream(slug)
	default:
		return u, checkVersion(have, version)
	}
}

const updateUpstream = `UPDATE upstreams SET settings = $3, version = version + 1, updated_at = berth_now() WHERE tenant_id = $1 AND id = $2`

// UpdateUpstream implements meta.Upstreams.
func (s *Store) UpdateUpstream(ctx context.Context, by meta.Cause, change meta.Upstream, renew bool) (meta.Upstream, error) {
	err := s.write(ctx, change.Tenant, func(t *tx) error {
		if err := t.changeAlone(by, change.Tenant, "upstream.update", upstreamTarget(change.Slug)); err != nil {
			return err
		}
		id, err := t.upstream(change.Tenant, change.Slug, change.Version)
		if err != nil {
			return err
		}
		t.queue(updateUpstream, change.Tenant, id, change.Settings)
		if !renew {
			return nil
		}
		t.giveUpCache(change.Tenant, id)
		t.makeCache(change.Tenant, id)
		return t.within(s.opts.Limits.CacheLimit(), countCaches, change.Tenant)
	})
	if err != nil {
		return meta.Upstream{}, err
	}
	return s.FindUpstream(ctx, change.Tenant, change.Slug)
}

const deleteUpstream = `DELETE FROM upstreams WHERE tenant_id = $1 AND id = $2`

// DeleteUpstream implements meta.Upstreams.
func (s *Store) DeleteUpstream(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.write(ctx, id, func(t *tx) error {
		if err := t.changeAlone(by, id, "upstream.delete", upstreamTarget(slug)); err != nil {
			return err
		}
		u, err := t.upstream(id, slug, version)
		if err != nil {
			return err
		}
		if err := t.unnamed(id, "upstream", slug); err != nil {
			return err
		}
		if err := t.unmirrored(id, slug); err != nil {
			return err
		}
		t.giveUpCache(id, u)
		t.queue(deleteUpstream, id, u)
		return nil
	})
}

const recordStatus = `UPDATE upstreams SET status = $3 WHERE tenant_id = $1 AND id = $2`

// RecordStatus implements meta.Upstreams.
func (s *Store) RecordStatus(ctx context.Context, id tenant.ID, u tenant.UpstreamID, status meta.UpstreamStatus) error {
	return s.write(ctx, id, func(t *tx) error {
		t.queue(recordStatus, id, u, status)
		return nil
	})
}

func upstreamTarget(slug string) string { return "upstreams/" + slug }

func noUpstream(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no upstream %q", slug)
}
