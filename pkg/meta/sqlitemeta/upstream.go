package sqlitemeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const selectUpstream = `
SELECT id, tenant_id, slug, settings, cache_id, status, version, created_at, updated_at FROM upstreams
WHERE tenant_id = ?1`

func scanUpstream(scan scan) (meta.Upstream, error) {
	var u meta.Upstream
	err := scan(&u.ID, &u.Tenant, &u.Slug, document{&u.Settings}, &u.Cache, document{&u.Status}, &u.Version,
		moment{&u.CreatedAt}, moment{&u.UpdatedAt})
	return u, err
}

const (
	findUpstream  = selectUpstream + ` AND slug = ?2`
	listUpstreams = selectUpstream + ` AND slug > ?2 ORDER BY slug LIMIT ?3`
)

// FindUpstream implements meta.Upstreams.
func (s *Store) FindUpstream(ctx context.Context, t tenant.ID, slug string) (meta.Upstream, error) {
	found, err := collect(ctx, s, scanUpstream, findUpstream, t, slug)
	return only(found, err, noUpstream(slug))
}

// ListUpstreams implements meta.Upstreams.
func (s *Store) ListUpstreams(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Upstream, error) {
	return collect(ctx, s, scanUpstream, listUpstreams, t, p.After, p.Size)
}

const insertUpstream = `
INSERT INTO upstreams (tenant_id, slug, settings, status, version, created_at, updated_at) VALUES (?1, ?2, ?3, '{}', 1, ?4, ?4)
RETURNING id`

// CreateUpstream implements meta.Upstreams.
func (s *Store) CreateUpstream(ctx context.Context, by meta.Cause, u meta.Upstream) (meta.Upstream, error) {
	encoded, err := json.Marshal(u.Settings)
	if err != nil {
		return meta.Upstream{}, translate(err)
	}
	err = s.writeFor(ctx, u.Tenant, func(t *tx) error {
		if err := t.change(by, u.Tenant, "upstream.create", upstreamTarget(u.Slug)); err != nil {
			return err
		}
		var id tenant.UpstreamID
		_, err := t.find(insertUpstream, []any{u.Tenant, u.Slug, string(encoded), t.now}, &id)
		if violatesUnique(err) {
			return fault.Wrap(err, fault.Conflict, fault.AlreadyExists, "upstream %q exists already", u.Slug)
		}
		if err != nil {
			return err
		}
		if err := t.within(s.opts.Limits.UpstreamLimit(), countUpstreams, u.Tenant); err != nil {
			return err
		}
		return t.renewCache(u.Tenant, id, 1, s.opts.Limits)
	})
	if err != nil {
		return meta.Upstream{}, err
	}
	return s.FindUpstream(ctx, u.Tenant, u.Slug)
}

const (
	insertCache = `
INSERT INTO registries (tenant_id, slug, settings, state, version, created_at, updated_at, upstream_id)
VALUES (?1, printf('upstream/%d/%d', ?2, ?3), '{}', 'active', 1, ?4, ?4, ?2)
RETURNING id`

	deleteCache = `
UPDATE registries SET state = 'deleting', version = version + 1, updated_at = ?3
 WHERE tenant_id = ?1 AND upstream_id = ?2 AND state = 'active'`

	pointUpstream = `UPDATE upstreams SET cache_id = ?3 WHERE tenant_id = ?1 AND id = ?2`
)

// renewCache gives the upstream, in its new version, an empty cache registry and
// gives up the one that it has.
func (t *tx) renewCache(id tenant.ID, upstream tenant.UpstreamID, version int64, limits meta.Limits) error {
	if _, err := t.exec(deleteCache, id, upstream, t.now); err != nil {
		return err
	}
	var cache tenant.RegistryID
	if _, err := t.find(insertCache, []any{id, upstream, version, t.now}, &cache); err != nil {
		return err
	}
	if _, err := t.exec(pointUpstream, id, upstream, cache); err != nil {
		return err
	}
	return t.within(limits.CacheLimit(), countCaches, id)
}

const findUpstreamID = `SELECT id, version FROM upstreams WHERE tenant_id = ?1 AND slug = ?2`

// changeUpstream records the event of a change and finds the upstream's id and
// version, which must be the one that was asked for.
func (t *tx) changeUpstream(by meta.Cause, verb string, id tenant.ID, slug string, version int64) (tenant.UpstreamID, int64, error) {
	if err := t.change(by, id, verb, upstreamTarget(slug)); err != nil {
		return 0, 0, err
	}
	var u tenant.UpstreamID
	var have int64
	found, err := t.find(findUpstreamID, []any{id, slug}, &u, &have)
	if err == nil && !found {
		err = noUpstream(slug)
	}
	if err != nil {
		return 0, 0, err
	}
	return u, have, checkVersion(have, version)
}

const updateUpstream = `UPDATE upstreams SET settings = ?3, version = ?4, updated_at = ?5 WHERE tenant_id = ?1 AND id = ?2`

// UpdateUpstream implements meta.Upstreams.
func (s *Store) UpdateUpstream(ctx context.Context, by meta.Cause, change meta.Upstream, renew bool) (meta.Upstream, error) {
	encoded, err := json.Marshal(change.Settings)
	if err != nil {
		return meta.Upstream{}, translate(err)
	}
	err = s.writeFor(ctx, change.Tenant, func(t *tx) error {
		id, version, err := t.changeUpstream(by, "upstream.update", change.Tenant, change.Slug, change.Version)
		if err != nil {
			return err
		}
		if _, err := t.exec(updateUpstream, change.Tenant, id, string(encoded), version+1, t.now); err != nil {
			return err
		}
		if !renew {
			return nil
		}
		return t.renewCache(change.Tenant, id, version+1, s.opts.Limits)
	})
	if err != nil {
		return meta.Upstream{}, err
	}
	return s.FindUpstream(ctx, change.Tenant, change.Slug)
}

const deleteUpstream = `DELETE FROM upstreams WHERE tenant_id = ?1 AND id = ?2`

// DeleteUpstream implements meta.Upstreams.
func (s *Store) DeleteUpstream(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.writeFor(ctx, id, func(t *tx) error {
		u, _, err := t.changeUpstream(by, "upstream.delete", id, slug, version)
		if err != nil {
			return err
		}
		if err := t.unnamed(id, "upstream", slug); err != nil {
			return err
		}
		if err := t.unmirrored(id, slug); err != nil {
			return err
		}
		if _, err := t.exec(deleteCache, id, u, t.now); err != nil {
			return err
		}
		_, err = t.exec(deleteUpstream, id, u)
		return err
	})
}

const recordStatus = `UPDATE upstreams SET status = ?3 WHERE tenant_id = ?1 AND id = ?2`

// RecordStatus implements meta.Upstreams.
func (s *Store) RecordStatus(ctx context.Context, id tenant.ID, u tenant.UpstreamID, status meta.UpstreamStatus) error {
	encoded, err := json.Marshal(status)
	if err != nil {
		return translate(err)
	}
	return s.writeFor(ctx, id, func(t *tx) error {
		_, err := t.exec(recordStatus, id, u, string(encoded))
		return err
	})
}

func upstreamTarget(slug string) string { return "upstreams/" + slug }

func noUpstream(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no upstream %q", slug)
}
