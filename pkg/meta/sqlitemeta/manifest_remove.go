package sqlitemeta

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// A manifest of more than removeFrom references and tags is removed in steps, each
// of removeBatch of them at least. A row of manifest_deletions says so from the
// first on: it is decided then, the janitor finishes what a crash leaves, and what
// puts such a manifest again finishes it first.
const (
	removeFrom  = 500
	removeBatch = 100
)

// removal is of a manifest. Deletions of its referrers are rows of their own, from
// its beginning on, so that what is pushed meanwhile stays.
type removal struct {
	tenant tenant.ID
	repo   int64
	digest oci.Digest
	op     uuid.UUID // that deletes it; zero for cached ones
}

const (
	countParts = `
SELECT count(*) FROM (
       SELECT 1 FROM (SELECT 1 FROM manifest_blobs WHERE tenant_id = ?1 AND repo_id = ?2 AND manifest = ?3 LIMIT ?4)
       UNION ALL
       SELECT 1 FROM (SELECT 1 FROM manifest_children WHERE tenant_id = ?1 AND repo_id = ?2 AND parent = ?3 LIMIT ?4)
       UNION ALL
       SELECT 1 FROM (SELECT 1 FROM tags WHERE tenant_id = ?1 AND repo_id = ?2 AND manifest = ?3 LIMIT ?4)
       UNION ALL
       SELECT 1 FROM (SELECT 1 FROM cache_tags WHERE tenant_id = ?1 AND repo_id = ?2 AND manifest = ?3 LIMIT ?4))`

	beginRemoval = `
INSERT INTO manifest_deletions (tenant_id, repo_id, digest, op) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING`

	findRemoval = `SELECT op FROM manifest_deletions WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3`

	anyRemoval = `SELECT tenant_id, repo_id, digest FROM manifest_deletions ORDER BY tenant_id, repo_id, digest LIMIT 1`
)

// beginRemoval writes the removal of a large manifest down; false where the manifest
// is small, to be removed at once.
func (t *tx) beginRemoval(r removal) (bool, error) {
	var parts int
	key := r.digest.Bytes()
	if _, err := t.find(countParts, []any{r.tenant, r.repo, key, removeFrom + 1}, &parts); err != nil || parts <= removeFrom {
		return false, err
	}
	_, err := t.exec(beginRemoval, r.tenant, r.repo, key, r.op[:])
	return true, err
}

// finishRemoval does the steps of a removal that was written down, if it was. What
// it cannot do, because the process stops or the client has gone, the janitor does.
func (s *Store) finishRemoval(ctx context.Context, r removal) error {
	found, err := s.find(ctx, findRemoval, []any{r.tenant, r.repo, r.digest.Bytes()}, new([]byte))
	for found && err == nil {
		if s.stopping() {
			return fault.Down(errClosed, "the metadata store")
		}
		err = s.step(ctx, r.tenant, func(t *tx) error {
			done, err := t.removeSome(r, s.life)
			found = !done
			return err
		})
	}
	return err
}

const (
	someReferences = `
SELECT digest FROM manifest_blobs WHERE tenant_id = ?1 AND repo_id = ?2 AND manifest = ?3 LIMIT ?4`

	releaseSome = `
UPDATE repo_blobs
   SET keep_until = CASE WHEN (SELECT g.upstream_id IS NULL FROM repositories r CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
                                WHERE r.tenant_id = ?1 AND r.id = ?2)
                    THEN max(coalesce(keep_until, 0), ?5) ELSE ?4 END,
       trashed = trashed OR ?6 AND NOT EXISTS (
           SELECT 1 FROM manifest_blobs live
            WHERE live.tenant_id = ?1 AND live.held_repo_id = ?2 AND live.digest = repo_blobs.digest AND live.manifest <> ?7)
 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest IN (SELECT unhex(j.value) FROM json_each(?3) j)`

	unlinkSome = `
DELETE FROM manifest_blobs
 WHERE tenant_id = ?1 AND repo_id = ?2 AND manifest = ?3 AND digest IN (SELECT unhex(j.value) FROM json_each(?4) j)`

	disownSome = `
DELETE FROM manifest_children
 WHERE (tenant_id, repo_id, parent, child) IN
       (SELECT c.tenant_id, c.repo_id, c.parent, c.child FROM manifest_children c WHERE c.tenant_id = ?1 AND c.repo_id = ?2 AND c.parent = ?3 LIMIT ?4)`

	dropSomeCachedTags = `
DELETE FROM cache_tags
 WHERE (tenant_id, repo_id, name) IN
       (SELECT g.tenant_id, g.repo_id, g.name FROM cache_tags g WHERE g.tenant_id = ?1 AND g.repo_id = ?2 AND g.manifest = ?3 LIMIT ?4)`
)

// removeSome is a step of a removal that was written down, and says whether it was
// the last, or there was none.
func (t *tx) removeSome(r removal, life meta.Lifetimes) (bool, error) {
	var op []byte
	found, err := t.find(findRemoval, []any{r.tenant, r.repo, r.digest.Bytes()}, &op)
	if err != nil || !found {
		return true, err
	}
	copy(r.op[:], op)
	for {
		n, err := t.removeParts(r, life)
		switch {
		case err != nil:
			return false, err
		case n == 0:
			return true, t.endRemoval(r)
		case t.spent():
			return false, nil
		}
	}
}

// removeParts removes a batch of tags, references or children, in this order: what
// is left to be removed has no tag.
func (t *tx) removeParts(r removal, life meta.Lifetimes) (int64, error) {
	key := r.digest.Bytes()
	if n, err := t.untagSome(r.tenant, r.repo, r.digest, r.op, removeBatch); err != nil || n > 0 {
		return n, err
	}
	for _, batch := range []string{dropSomeCachedTags, disownSome} {
		if n, err := t.exec(batch, r.tenant, r.repo, key, removeBatch); err != nil || n > 0 {
			return n, err
		}
	}
	var some []oci.Digest
	err := t.list(someReferences, []any{r.tenant, r.repo, key, removeBatch}, func(scan scan) error {
		var d oci.Digest
		err := scan(digestScanner{&d})
		some = append(some, d)
		return err
	})
	if err != nil || len(some) == 0 {
		return 0, err
	}
	if err := t.rememberSome(r, some); err != nil {
		return 0, err
	}
	inTrash, err := t.trashSome(r, some)
	if err != nil {
		return 0, err
	}
	keep := life.Released
	if inTrash {
		keep = released(life)
	}
	if _, err := t.exec(releaseSome, r.tenant, r.repo, inJSON(some), t.now, t.after(keep), inTrash, key); err != nil {
		return 0, err
	}
	return t.exec(unlinkSome, r.tenant, r.repo, key, inJSON(some))
}

// endRemoval removes the manifest itself, of which nothing else is left.
func (t *tx) endRemoval(r removal) error {
	if _, err := t.exec(deleteManifest, r.tenant, r.repo, r.digest.Bytes()); err != nil {
		return err
	}
	_, err := t.exec(hideRepository, r.tenant, r.repo)
	return err
}

// errGoing says that the manifest is being removed.
var errGoing = errors.New("sqlitemeta: the manifest is being removed")

func (t *tx) refuseGoing(id tenant.ID, repo int64, d oci.Digest) error {
	found, err := t.find(findRemoval, []any{id, repo, d.Bytes()}, new([]byte))
	if err == nil && found {
		err = errGoing
	}
	return err
}

// afterRemoval puts a manifest, after the one that is being removed by its digest
// has gone.
func (s *Store) afterRemoval(ctx context.Context, r meta.Repo, d oci.Digest, put func() error) error {
	for {
		err := put()
		if !errors.Is(err, errGoing) {
			return err
		}
		var row repository
		if _, err := s.find(ctx, activeRepository, []any{r.Tenant, r.Registry, r.Name}, &row.id, &row.target, &row.upstream); err != nil {
			return err
		}
		if err := s.finishRemoval(ctx, removal{tenant: r.Tenant, repo: row.id, digest: d}); err != nil {
			return err
		}
	}
}
