package sqlmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectMirrorHost = `
SELECT h.tenant_id, h.slug, h.registry, h.upstream, h.upstream_group, h.cached_only, h.networks, h.display_name, h.version,
       h.created_at, h.updated_at, n.expires_at, o.expires_at, h.last_used_at, h.last_used_from
FROM mirror_hosts h
JOIN mirror_names n ON n.tenant_id = h.tenant_id AND n.slug = h.slug AND n.latest = true
LEFT JOIN mirror_names o ON o.tenant_id = h.tenant_id AND o.slug = h.slug AND o.latest = false AND o.expires_at > berth_now()
WHERE h.tenant_id = $1`

	findMirrorHost  = selectMirrorHost + ` AND h.slug = $2`
	listMirrorHosts = selectMirrorHost + ` AND h.slug > $2 ORDER BY h.slug LIMIT $3`

	insertMirrorHost = `
INSERT INTO mirror_hosts (tenant_id, slug, registry, upstream, upstream_group, cached_only, networks, display_name, version, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, berth_now(), berth_now())`

	findMirrorHostVersion = `SELECT version FROM mirror_hosts WHERE tenant_id = $1 AND slug = $2`

	updateMirrorHost = `
UPDATE mirror_hosts SET registry = $3, upstream = $4, upstream_group = $5, cached_only = $6, networks = $7, display_name = $8,
       version = version + 1, updated_at = berth_now()
 WHERE tenant_id = $1 AND slug = $2`

	raiseMirrorHost = `UPDATE mirror_hosts SET version = version + 1, updated_at = berth_now() WHERE tenant_id = $1 AND slug = $2`

	deleteMirrorHost = `DELETE FROM mirror_hosts WHERE tenant_id = $1 AND slug = $2`

	insertMirrorName = `INSERT INTO mirror_names (hash, tenant_id, slug, latest, expires_at) VALUES ($1, $2, $3, true, $4)`

	deleteOldMirrorName = `DELETE FROM mirror_names WHERE tenant_id = $1 AND slug = $2 AND latest = false`

	retireMirrorName = `
UPDATE mirror_names SET latest = false, expires_at = CASE WHEN expires_at < $3 THEN expires_at ELSE $3 END
 WHERE tenant_id = $1 AND slug = $2 AND latest = true`

	// The mirror host that names what is to be deleted.
	mirrorHostOfRegistry = `SELECT slug FROM mirror_hosts WHERE tenant_id = $1 AND registry = $2 LIMIT 1`
	mirrorHostOfUpstream = `SELECT slug FROM mirror_hosts WHERE tenant_id = $1 AND upstream = $2 LIMIT 1`
	mirrorHostOfGroup    = `SELECT slug FROM mirror_hosts WHERE tenant_id = $1 AND upstream_group = $2 LIMIT 1`
)

func scanMirrorHost(scan Scan) (meta.MirrorHost, error) {
	var h meta.MirrorHost
	err := scan(&h.Tenant, &h.Slug, &h.Registry, &h.Upstream, &h.Group, &h.CachedOnly, &h.Networks, &h.DisplayName, &h.Version,
		timeScanner{&h.CreatedAt}, timeScanner{&h.UpdatedAt}, timeScanner{&h.ExpiresAt}, timeScanner{&h.OldUntil},
		timeScanner{&h.UsedAt}, textScanner{&h.UsedFrom})
	return h, err
}

// FindMirrorHost implements meta.MirrorHosts.
func (s *Records) FindMirrorHost(ctx context.Context, t tenant.ID, slug string) (meta.MirrorHost, error) {
	return find(ctx, s, t, noMirrorHost(slug), scanMirrorHost, findMirrorHost, t, slug)
}

// ListMirrorHosts implements meta.MirrorHosts.
func (s *Records) ListMirrorHosts(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.MirrorHost, error) {
	return list(ctx, s, t, scanMirrorHost, listMirrorHosts, t, p.After, p.Size)
}

// CreateMirrorHost implements meta.MirrorHosts.
func (s *Records) CreateMirrorHost(ctx context.Context, by meta.Cause, h meta.MirrorHost, name meta.MirrorName) (meta.MirrorHost, error) {
	err := s.engine.Write(ctx, h.Tenant, func(t Tx) error {
		if err := beginAlone(t, by, h.Tenant, "mirrorHost.create", mirrorHostTarget(h.Slug)); err != nil {
			return err
		}
		if err := checkMirrorNames(t, h); err != nil {
			return err
		}
		t.OnViolation("mirror_hosts_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "mirror host %q exists already", h.Slug))
		if err := t.Queue(insertMirrorHost, h.Tenant, h.Slug, h.Registry, h.Upstream, h.Group, h.CachedOnly, string(h.Networks), h.DisplayName); err != nil {
			return err
		}
		if err := t.Queue(insertMirrorName, name.Hash[:], h.Tenant, h.Slug, t.Time(name.ExpiresAt)); err != nil {
			return err
		}
		return checkLimit(t, s.limits.MirrorHostLimit(), countMirrorHosts, h.Tenant)
	})
	if err != nil {
		return meta.MirrorHost{}, err
	}
	return s.FindMirrorHost(ctx, h.Tenant, h.Slug)
}

// beginMirrorHostChange records the event of a change, and checks that the host exists in
// the expected version.
func beginMirrorHostChange(t Tx, by meta.Cause, verb string, id tenant.ID, slug string, version int64) error {
	if err := beginAlone(t, by, id, verb, mirrorHostTarget(slug)); err != nil {
		return err
	}
	var have int64
	found, err := t.Find(findMirrorHostVersion, []any{id, slug}, &have)
	switch {
	case err != nil:
		return err
	case !found:
		return noMirrorHost(slug)
	default:
		return checkVersion(have, version)
	}
}

// UpdateMirrorHost implements meta.MirrorHosts.
func (s *Records) UpdateMirrorHost(ctx context.Context, by meta.Cause, h meta.MirrorHost) (meta.MirrorHost, error) {
	err := s.engine.Write(ctx, h.Tenant, func(t Tx) error {
		if err := beginMirrorHostChange(t, by, "mirrorHost.update", h.Tenant, h.Slug, h.Version); err != nil {
			return err
		}
		if err := checkMirrorNames(t, h); err != nil {
			return err
		}
		return t.Queue(updateMirrorHost, h.Tenant, h.Slug, h.Registry, h.Upstream, h.Group, h.CachedOnly, string(h.Networks), h.DisplayName)
	})
	if err != nil {
		return meta.MirrorHost{}, err
	}
	return s.FindMirrorHost(ctx, h.Tenant, h.Slug)
}

// RotateMirrorHost implements meta.MirrorHosts.
func (s *Records) RotateMirrorHost(
	ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64, name meta.MirrorName, until time.Time,
) (meta.MirrorHost, error) {
	err := s.engine.Write(ctx, id, func(t Tx) error {
		if err := beginMirrorHostChange(t, by, "mirrorHost.rotate", id, slug, version); err != nil {
			return err
		}
		if err := t.Queue(deleteOldMirrorName, id, slug); err != nil {
			return err
		}
		if err := t.Queue(retireMirrorName, id, slug, t.Time(until)); err != nil {
			return err
		}
		if err := t.Queue(insertMirrorName, name.Hash[:], id, slug, t.Time(name.ExpiresAt)); err != nil {
			return err
		}
		return t.Queue(raiseMirrorHost, id, slug)
	})
	if err != nil {
		return meta.MirrorHost{}, err
	}
	return s.FindMirrorHost(ctx, id, slug)
}

// DeleteMirrorHost implements meta.MirrorHosts.
func (s *Records) DeleteMirrorHost(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		if err := beginMirrorHostChange(t, by, "mirrorHost.delete", id, slug, version); err != nil {
			return err
		}
		return t.Queue(deleteMirrorHost, id, slug)
	})
}

// checkMirrorNames refuses a mirror host that names an unknown registry, upstream or group.
func checkMirrorNames(t Tx, h meta.MirrorHost) error {
	for _, one := range []struct{ kind, field, query, slug string }{
		{"registry", "registry", findRegistryID, h.Registry},
		{"upstream", "upstream", findUpstreamID, h.Upstream},
	} {
		if one.slug == "" {
			continue
		}
		if found, err := exists(t, one.query, h.Tenant, one.slug); err != nil {
			return err
		} else if !found {
			return fault.New(fault.Invalid, fault.ResourceUnknown, "there is no %s %q", one.kind, one.slug).WithField(one.field)
		}
	}
	if h.Group == "" {
		return nil
	}
	_, err := groupVersion(t, h.Tenant, h.Group)
	if fault.Is(err, fault.ResourceUnknown) {
		return fault.New(fault.Invalid, fault.ResourceUnknown, "there is no upstream group %q", h.Group).WithField("upstream_group")
	}
	return err
}

// checkNoMirrorHost refuses to delete what a mirror host names: query finds one.
func checkNoMirrorHost(t Tx, id tenant.ID, query, kind, slug string) error {
	var host string
	named, err := t.Find(query, []any{id, slug}, &host)
	if err == nil && named {
		err = fault.New(fault.Conflict, fault.InUse, "mirror host %q names %s %q; change or delete that mirror host first", host, kind, slug)
	}
	return err
}

func mirrorHostTarget(slug string) string { return "mirrorHosts/" + slug }

func noMirrorHost(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no mirror host %q", slug)
}
