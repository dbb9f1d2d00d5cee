package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
)

// Two repositories are locked in the order of their ids. $2 and $3 name the
// target, $4 and $5 the source; they may be the same, and both are hosted.
const lockRepositories = `
SELECT r.id, r.registry_id = $2 AND r.name = $3, r.registry_id = $4 AND r.name = $5
  FROM tenants t
  JOIN repositories r ON r.tenant_id = t.id AND r.state = 'active' AND (r.registry_id, r.name) IN (($2, $3), ($4, $5))
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.state = 'active' AND g.upstream_id IS NULL
 WHERE t.id = $1 AND t.state = 'active'
 ORDER BY r.id
   FOR KEY SHARE OF r`

// A new link may change whether the blob counts as cached, at COMMIT, when it is
// too late to wait for others.
const lockHealthyBlob = `
SELECT b.size, b.incarnation FROM blobs b WHERE b.tenant_id = $1 AND b.digest = $2 AND NOT b.suspect FOR NO KEY UPDATE`

const lockSource = `
SELECT 1
  FROM open_repositories r
  JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id AND rb.digest = $4
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND ` + visibleLink + `
   FOR KEY SHARE OF rb`

const linkBlob = `
INSERT INTO repo_blobs (tenant_id, repo_id, digest, keep_until) VALUES ($1, $2, $3, berth_now() + $4::interval)
ON CONFLICT (tenant_id, repo_id, digest) DO UPDATE SET keep_until = greatest(repo_blobs.keep_until, excluded.keep_until), trashed = false`

// MountBlob implements meta.Blobs.
func (s *Store) MountBlob(ctx context.Context, by meta.Cause, from, to meta.Repo, d oci.Digest) (meta.Blob, error) {
	b := newBlob(to.Tenant, d)
	if from.Tenant != to.Tenant {
		return b, blobUnknown(d)
	}
	err := s.write(ctx, to.Tenant, func(t *tx) error {
		m := mount{tx: t, by: by, from: from, to: to, digest: d}
		if err := t.ensureRepository(to, m.lock); err != nil {
			return err
		}
		b.Size, b.Key.Incarnation = m.found.Size, m.found.Key.Incarnation
		if !m.hasSource || !m.held || !m.linked {
			return blobUnknown(d)
		}
		if m.recorded == 0 {
			return sqlmeta.ErrAlreadyDone
		}
		t.queue(linkBlob, to.Tenant, m.target, d.Bytes(), s.life.Grace)
		if t.grew {
			t.withinQuota(to.Tenant, false)
		}
		return nil
	})
	return b, err
}

// mount is one running MountBlob.
type mount struct {
	*tx
	by       meta.Cause
	from, to meta.Repo
	digest   oci.Digest

	target               int64 // the id of the target
	hasTarget, hasSource bool
	recorded             int64
	held, linked         bool
	found                meta.Blob
}

// lock is the batch that locks and reads all a mount decides by.
func (m *mount) lock() (bool, error) {
	m.hasTarget, m.hasSource = false, false
	m.queue(lockRepositories, m.to.Tenant, m.to.Registry, m.to.Name, m.from.Registry, m.from.Name).Query(each(func(scan scan) error {
		var repo int64
		var isTarget, isSource bool
		if err := scan(&repo, &isTarget, &isSource); err != nil {
			return err
		}
		if isTarget {
			m.target, m.hasTarget = repo, true
		}
		m.hasSource = m.hasSource || isSource
		return nil
	}))
	if err := m.repositoryEvent(m.by, m.to, "blob.mount", "@"+m.digest.String(), &m.recorded); err != nil {
		return false, err
	}
	var one int
	m.queue(lockHealthyBlob, m.to.Tenant, m.digest.Bytes()).QueryRow(first(&m.held, &m.found.Size, uuidScanner{&m.found.Key.Incarnation}))
	m.queue(lockSource, m.from.Tenant, m.from.Registry, m.from.Name, m.digest.Bytes()).QueryRow(first(&m.linked, &one))
	err := m.flush()
	return m.hasTarget, err
}
