package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
)

// PurgeCached implements meta.Cache.
func (s *Store) PurgeCached(ctx context.Context, by meta.Cause, r meta.Repo, ref oci.Reference) error {
	err := s.write(ctx, r.Tenant, func(t *tx) error {
		// A repeated request may find the repository deleted.
		if err := t.alreadyDone(by, r.Tenant); err != nil {
			return err
		}
		switch {
		case ref.Digest != "":
			return t.purgeCachedManifest(by, r, ref.Digest, s.life)
		case ref.Tag != "":
			return t.purgeCachedTag(by, r, ref.Tag)
		default:
			return t.purgeCachedRepository(by, r)
		}
	})
	if err == nil && ref.Digest != "" {
		s.hideEmpty(ctx, r)
	}
	return err
}

// beginPurge locks the repository and records the event.
func (t *tx) beginPurge(by meta.Cause, r meta.Repo, suffix string) (int64, error) {
	var recorded int64
	repo := t.lockRepository(r)
	if err := t.cacheEvent(by, r, "cache.purge", suffix, &recorded); err != nil {
		return 0, err
	}
	if err := t.flush(); err != nil {
		return 0, err
	}
	switch {
	case !repo.isCached():
		return 0, nameUnknown(r)
	case recorded == 0:
		return 0, sqlmeta.ErrAlreadyDone
	default:
		return repo.id, nil
	}
}

func (t *tx) purgeCachedTag(by meta.Cause, r meta.Repo, tag string) error {
	repo, err := t.beginPurge(by, r, ":"+tag)
	if err != nil {
		return err
	}
	n, err := t.exec(dropCachedTag, r.Tenant, repo, tag)
	if err == nil && n == 0 {
		err = manifestUnknown(tag)
	}
	return err
}

func (t *tx) purgeCachedManifest(by meta.Cause, r meta.Repo, d oci.Digest, life meta.Lifetimes) error {
	repo, err := t.beginPurge(by, r, suffix(nil, d))
	if err != nil {
		return err
	}
	var doomed, released, locked links
	doomed.add(link{r.Tenant, repo, d})
	t.queue(lockNamedLinks, doomed.tenants, doomed.repos, doomed.digests).Query(each(released.read()))
	t.queue(lockDoomed, r.Tenant, repo, doomed.digests).Query(each(func(scan scan) error {
		l := link{tenant: r.Tenant, repo: repo}
		err := scan(digestScanner{&l.digest})
		locked.add(l)
		return err
	}))
	if err := t.flush(); err != nil {
		return err
	}
	if locked.len() == 0 {
		return manifestUnknown(d.String())
	}
	t.queue(releaseLinks, released.tenants, released.repos, released.digests, life.Released)
	n, err := t.exec(deleteCached, locked.tenants, locked.repos, locked.digests, released.tenants, released.repos, released.digests)
	if err == nil && n == 0 {
		return sqlmeta.ErrRestart
	}
	return err
}

// It waits for the writers in flight.
const lockCachedRepositoryToDelete = `
SELECT r.id
  FROM tenants t
  JOIN registries g ON g.tenant_id = t.id AND g.id = $2 AND g.state = 'active' AND g.upstream_id IS NOT NULL
  JOIN repositories r ON r.tenant_id = t.id AND r.registry_id = g.id AND r.name = $3 AND r.state = 'active'
 WHERE t.id = $1 AND t.state = 'active'
   FOR UPDATE OF r`

func (t *tx) purgeCachedRepository(by meta.Cause, r meta.Repo) error {
	var repo, recorded int64
	found, err := t.find(lockCachedRepositoryToDelete, []any{r.Tenant, r.Registry, r.Name}, &repo)
	if err != nil {
		return err
	}
	if !found {
		return nameUnknown(r)
	}
	if err := t.cacheEvent(by, r, "cache.purge", "", &recorded); err != nil {
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	if recorded == 0 {
		return sqlmeta.ErrAlreadyDone
	}
	t.queue(markRepositoryDeleting, r.Tenant, repo)
	return nil
}
