package sqlmeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// UnprovedCache is whether a cache is kept for that of an upstream u.
const UnprovedCache = `EXISTS (SELECT 1 FROM registries k WHERE k.tenant_id = u.tenant_id AND k.kept_for = u.cache_id AND k.expire_at > berth_now())`

const (
	selectUpstream = `
SELECT id, tenant_id, slug, settings, cache_id, ` + UnprovedCache + `, status, version, created_at, updated_at FROM upstreams u
WHERE tenant_id = $1`

	findUpstream  = selectUpstream + ` AND slug = $2`
	listUpstreams = selectUpstream + ` AND slug > $2 ORDER BY slug LIMIT $3`

	insertUpstream = `
INSERT INTO upstreams (tenant_id, slug, settings, status, version, created_at, updated_at) VALUES ($1, $2, $3, '{}', 1, berth_now(), berth_now())
RETURNING id`

	findUpstreamID = `SELECT id, version FROM upstreams WHERE tenant_id = $1 AND slug = $2`
	lockUpstream   = findUpstreamID + ` FOR UPDATE`

	updateUpstream = `UPDATE upstreams SET settings = $3, version = version + 1, updated_at = berth_now() WHERE tenant_id = $1 AND id = $2`
	deleteUpstream = `DELETE FROM upstreams WHERE tenant_id = $1 AND id = $2`
	recordStatus   = `UPDATE upstreams SET status = $3 WHERE tenant_id = $1 AND id = $2`

	// The lock waits for transactions that are creating a repository there.
	findCache = `SELECT id FROM registries WHERE tenant_id = $1 AND upstream_id = $2 AND state = 'active'`
	lockCache = findCache + ` FOR UPDATE`

	deleteCache = `
UPDATE registries SET state = 'deleting', version = version + 1, updated_at = berth_now()
 WHERE tenant_id = $1 AND id = $2`

	insertCache = `
INSERT INTO registries (tenant_id, slug, settings, state, version, created_at, updated_at, upstream_id)
SELECT u.tenant_id, 'upstream/' || u.id || '/' || u.version, '{}', 'active', 1, berth_now(), berth_now(), u.id
  FROM upstreams u WHERE u.tenant_id = $1 AND u.id = $2
RETURNING id`

	pointUpstream = `UPDATE upstreams SET cache_id = $3 WHERE tenant_id = $1 AND id = $2`
)

// ScanUpstream reads a row with the columns of selectUpstream.
func ScanUpstream(scan Scan) (meta.Upstream, error) {
	var u meta.Upstream
	err := scan(&u.ID, &u.Tenant, &u.Slug, jsonScanner{&u.Settings}, &u.Cache, &u.Unproved, jsonScanner{&u.Status}, &u.Version,
		timeScanner{&u.CreatedAt}, timeScanner{&u.UpdatedAt})
	return u, err
}

// FindUpstream implements meta.Upstreams.
func (s *Records) FindUpstream(ctx context.Context, t tenant.ID, slug string) (meta.Upstream, error) {
	return find(ctx, s, t, noUpstream(slug), ScanUpstream, findUpstream, t, slug)
}

// ListUpstreams implements meta.Upstreams.
func (s *Records) ListUpstreams(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Upstream, error) {
	return list(ctx, s, t, ScanUpstream, listUpstreams, t, p.After, p.Size)
}

// CreateUpstream implements meta.Upstreams.
func (s *Records) CreateUpstream(ctx context.Context, by meta.Cause, u meta.Upstream) (meta.Upstream, error) {
	err := s.engine.Write(ctx, u.Tenant, func(t Tx) error {
		settings, err := json.Marshal(u.Settings)
		if err != nil {
			return err
		}
		if err := beginAlone(t, by, u.Tenant, "upstream.create", UpstreamTarget(u.Slug)); err != nil {
			return err
		}
		t.OnViolation("upstreams_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "upstream %q exists already", u.Slug))
		var id tenant.UpstreamID
		if _, err := t.Find(insertUpstream, []any{u.Tenant, u.Slug, string(settings)}, &id); err != nil {
			return err
		}
		if err := checkLimit(t, s.limits.UpstreamLimit(), countUpstreams, u.Tenant); err != nil {
			return err
		}
		_, err = s.makeCache(t, u.Tenant, id)
		return err
	})
	if err != nil {
		return meta.Upstream{}, err
	}
	return s.FindUpstream(ctx, u.Tenant, u.Slug)
}

// makeCache creates an empty cache registry for the present version of the
// upstream.
func (s *Records) makeCache(t Tx, id tenant.ID, u tenant.UpstreamID) (tenant.RegistryID, error) {
	var cache tenant.RegistryID
	if _, err := t.Find(insertCache, []any{id, u}, &cache); err != nil {
		return 0, err
	}
	if err := t.Queue(pointUpstream, id, u, cache); err != nil {
		return 0, err
	}
	return cache, checkLimit(t, s.limits.CacheLimit(), countCaches, id)
}

// giveUpCache marks the cache registry of the upstream, and those that are kept for it, for
// removal.
func giveUpCache(t Tx, id tenant.ID, u tenant.UpstreamID) error {
	var cache tenant.RegistryID
	if found, err := t.Find(t.Pick(findCache, lockCache), []any{id, u}, &cache); err != nil || !found {
		return err
	}
	if err := t.Queue(giveUpKeptCaches, id, cache); err != nil {
		return err
	}
	return t.Queue(deleteCache, id, cache)
}

// beginUpstreamChange records the event of a change and locks the upstream, in the
// expected version.
func beginUpstreamChange(t Tx, by meta.Cause, verb string, id tenant.ID, slug string, version int64) (tenant.UpstreamID, error) {
	if err := beginAlone(t, by, id, verb, UpstreamTarget(slug)); err != nil {
		return 0, err
	}
	var u tenant.UpstreamID
	var have int64
	found, err := t.Find(t.Pick(findUpstreamID, lockUpstream), []any{id, slug}, &u, &have)
	switch {
	case err != nil:
		return 0, err
	case !found:
		return 0, noUpstream(slug)
	default:
		return u, checkVersion(have, version)
	}
}

// setUpstream changes the settings of the upstream, in the expected version.
func setUpstream(t Tx, by meta.Cause, u meta.Upstream) (tenant.UpstreamID, error) {
	settings, err := json.Marshal(u.Settings)
	if err != nil {
		return 0, err
	}
	id, err := beginUpstreamChange(t, by, "upstream.update", u.Tenant, u.Slug, u.Version)
	if err != nil {
		return 0, err
	}
	if err := checkSame(id, u.ID, noUpstream(u.Slug)); err != nil {
		return 0, err
	}
	return id, t.Queue(updateUpstream, u.Tenant, id, string(settings))
}

// UpdateUpstream implements meta.Upstreams.
func (s *Records) UpdateUpstream(ctx context.Context, by meta.Cause, u meta.Upstream, renew bool) (meta.Upstream, error) {
	err := s.engine.Write(ctx, u.Tenant, func(t Tx) error {
		id, err := setUpstream(t, by, u)
		if err != nil || !renew {
			return err
		}
		if err := giveUpCache(t, u.Tenant, id); err != nil {
			return err
		}
		_, err = s.makeCache(t, u.Tenant, id)
		return err
	})
	if err != nil {
		return meta.Upstream{}, err
	}
	return s.FindUpstream(ctx, u.Tenant, u.Slug)
}

// DeleteUpstream implements meta.Upstreams.
func (s *Records) DeleteUpstream(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		u, err := beginUpstreamChange(t, by, "upstream.delete", id, slug, version)
		if err != nil {
			return err
		}
		if err := checkNoGroupNames(t, id, "upstream", slug); err != nil {
			return err
		}
		if err := checkNotMirrored(t, id, slug); err != nil {
			return err
		}
		if err := checkNoMirrorHost(t, id, mirrorHostOfUpstream, "upstream", slug); err != nil {
			return err
		}
		if err := giveUpCache(t, id, u); err != nil {
			return err
		}
		return t.Queue(deleteUpstream, id, u)
	})
}

// RecordStatus implements meta.Upstreams.
func (s *Records) RecordStatus(ctx context.Context, id tenant.ID, u tenant.UpstreamID, status meta.UpstreamStatus) error {
	return s.engine.Write(ctx, id, func(t Tx) error {
		encoded, err := json.Marshal(status)
		if err != nil {
			return err
		}
		return t.Queue(recordStatus, id, u, string(encoded))
	})
}

func noUpstream(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no upstream %q", slug)
}
