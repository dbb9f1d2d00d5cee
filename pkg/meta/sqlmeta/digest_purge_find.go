package sqlmeta

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// SQLite joins the tables in the written order: from the repositories of the tenant.
const (
	// The manifests that are the digest or name it, and the indexes above them.
	naming = `
WITH RECURSIVE named (repo_id, digest) AS (
  SELECT m.repo_id, m.digest
    FROM repositories r CROSS JOIN manifests m
   WHERE r.tenant_id = $1 AND m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = $2
  UNION
  SELECT b.repo_id, b.manifest
    FROM repositories r CROSS JOIN manifest_blobs b
   WHERE r.tenant_id = $1 AND b.tenant_id = r.tenant_id AND b.repo_id = r.id AND b.digest = $2
  UNION
  SELECT c.repo_id, c.parent
    FROM repositories r CROSS JOIN manifest_children c
   WHERE r.tenant_id = $1 AND c.tenant_id = r.tenant_id AND c.repo_id = r.id AND c.child = $2
  UNION
  SELECT c.repo_id, c.parent
    FROM named doomed CROSS JOIN manifest_children c
   WHERE c.tenant_id = $1 AND c.repo_id = doomed.repo_id AND c.child = doomed.digest
)
SELECT m.repo_id, m.digest, g.slug, r.name
  FROM named doomed
 CROSS JOIN repositories r
 CROSS JOIN registries g
 CROSS JOIN manifests m
 WHERE r.tenant_id = $1 AND r.id = doomed.repo_id AND g.tenant_id = r.tenant_id AND g.id = r.registry_id
   AND m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = doomed.digest`

	// Deleted, cached and provisional ones are not live.
	listNaming = naming + `
   AND r.state = 'active' AND g.state = 'active' AND g.upstream_id IS NULL AND m.expire_at IS NULL
 ORDER BY g.slug, r.name, m.digest LIMIT $3`

	// Those that no other one names.
	nextNaming = naming + `
   AND NOT EXISTS (SELECT 1 FROM manifest_children c WHERE c.tenant_id = m.tenant_id AND c.repo_id = m.repo_id AND c.child = m.digest AND c.parent <> m.digest)
 ORDER BY m.repo_id, m.digest LIMIT $3`

	// $3 is the digest as the children of trashed manifests have it, in a pattern.
	trashNaming = `
SELECT x.repo_id, x.digest
  FROM repositories r CROSS JOIN trashed_manifests x
 WHERE r.tenant_id = $1 AND x.tenant_id = r.tenant_id AND x.repo_id = r.id AND (x.digest = $2 OR CAST(x.children AS text) LIKE $3)
UNION
SELECT b.repo_id, b.manifest
  FROM repositories r CROSS JOIN trashed_blobs b
 WHERE r.tenant_id = $1 AND b.tenant_id = r.tenant_id AND b.repo_id = r.id AND b.digest = $2
 LIMIT $4`

	purgePlaces = `
WITH places (repo_id) AS (
  SELECT b.repo_id FROM repo_blobs b WHERE b.tenant_id = $1 AND b.digest = $2
  UNION
  SELECT m.repo_id
    FROM repositories r CROSS JOIN manifests m
   WHERE r.tenant_id = $1 AND m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = $2
  UNION
  SELECT b.repo_id
    FROM repositories r CROSS JOIN manifest_blobs b
   WHERE r.tenant_id = $1 AND b.tenant_id = r.tenant_id AND b.repo_id = r.id AND b.digest = $2
  UNION
  SELECT c.repo_id
    FROM repositories r CROSS JOIN manifest_children c
   WHERE r.tenant_id = $1 AND c.tenant_id = r.tenant_id AND c.repo_id = r.id AND c.child = $2
  UNION
  SELECT x.repo_id
    FROM repositories r CROSS JOIN trashed_manifests x
   WHERE r.tenant_id = $1 AND x.tenant_id = r.tenant_id AND x.repo_id = r.id AND (x.digest = $2 OR CAST(x.children AS text) LIKE $3)
)
SELECT g.slug, r.name, r.state = 'active' AND g.state = 'active', g.upstream_id IS NULL
  FROM places held
 CROSS JOIN repositories r
 CROSS JOIN registries g
 WHERE r.tenant_id = $1 AND r.id = held.repo_id AND g.tenant_id = r.tenant_id AND g.id = r.registry_id
 ORDER BY g.slug, r.name, r.id`

	condemnedOf = `
SELECT o.incarnation, o.delete_after, o.next_try FROM objects o WHERE o.tenant_id = $1 AND o.digest = $2 AND o.state = 'D'
UNION
SELECT o.incarnation, o.delete_after, o.next_try FROM objects o WHERE o.tenant_id = $1 AND o.purge = $2 AND o.state = 'D'`

	findPurgedBlob = `SELECT incarnation FROM blobs WHERE tenant_id = $1 AND digest = $2`
)

// FindPurge implements meta.Purges.
func (s *Records) FindPurge(ctx context.Context, id tenant.ID, d oci.Digest) (meta.PurgeState, error) {
	var state meta.PurgeState
	running, err := list(ctx, s, id, scanPurge, findDigestPurge, id, d.Bytes())
	if err != nil {
		return state, err
	}
	state.Running = len(running) > 0
	if state.Present, err = s.present(ctx, id, d); err != nil {
		return state, err
	}
	if state.Manifests, err = s.liveNaming(ctx, id, d, meta.MaxPurgedManifests+1); err != nil {
		return state, err
	}
	times, err := list(ctx, s, id, scanDue, condemnedOf, id, d.Bytes())
	state.Objects = len(times)
	for _, at := range times {
		if at.After(state.DeletedAt) {
			state.DeletedAt = at
		}
	}
	return state, err
}

// present reports whether a repository has a digest, hosted or cached, live or in the trash.
func (s *Records) present(ctx context.Context, id tenant.ID, d oci.Digest) (bool, error) {
	places, err := s.places(ctx, id, d)
	if err != nil {
		return false, err
	}
	blobs, err := list(ctx, s, id, scanOp, findPurgedBlob, id, d.Bytes())
	return len(places)+len(blobs) > 0, err
}

// scanDue reads when a condemned object is due.
func scanDue(scan Scan) (time.Time, error) {
	var incarnation uuid.UUID
	var after, next time.Time
	err := scan(&incarnation, timeScanner{&after}, timeScanner{&next})
	if next.After(after) {
		after = next
	}
	return after, err
}

func (s *Records) liveNaming(ctx context.Context, id tenant.ID, d oci.Digest, limit int) ([]meta.NamingManifest, error) {
	return list(ctx, s, id, func(scan Scan) (meta.NamingManifest, error) {
		m, err := scanNaming(scan)
		return meta.NamingManifest{Registry: m.registry, Repository: m.repository, Digest: m.digest}, err
	}, listNaming, id, d.Bytes(), limit)
}

// place is a repository that has a digest.
type place struct {
	meta.PurgePlace
	hosted bool
}

func (s *Records) places(ctx context.Context, id tenant.ID, d oci.Digest) ([]place, error) {
	return list(ctx, s, id, func(scan Scan) (place, error) {
		var p place
		var active bool
		err := scan(&p.Registry, &p.Repository, &active, &p.hosted)
		p.Deleted = !active
		return p, err
	}, purgePlaces, id, d.Bytes(), childPattern(d))
}

// ListPurgePlaces implements meta.Purges.
func (s *Records) ListPurgePlaces(ctx context.Context, id tenant.ID, d oci.Digest) ([]meta.PurgePlace, error) {
	places, err := s.places(ctx, id, d)
	var hosted []meta.PurgePlace
	for _, p := range places {
		if p.hosted {
			hosted = append(hosted, p.PurgePlace)
		}
	}
	return hosted, err
}
