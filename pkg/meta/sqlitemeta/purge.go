package sqlitemeta

import (
	"context"
	"errors"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// PurgeDeleted implements meta.Collector. A call does the first step that finds
// work, so that what a step needs gone is gone: the marks go down from tenants
// to repositories, the rows go up from the content of a repository to its
// tenant, which stays as a tombstone. What can still be taken back has its
// expire_at, and no step but the first looks at it.
func (s *Store) PurgeDeleted(ctx context.Context, limit int) (int, error) {
	work := 0
	err := s.step(ctx, deployment, func(t *tx) error {
		p := purge{tx: t, life: s.life, limit: limit}
		var err error
		work, err = p.steps(p.due, p.marks, p.repository, p.registry, p.tenant, p.removals, p.deletions, p.trash)
		return err
	})
	if err != nil || work > 0 {
		return work, err
	}
	work, failed := s.ContinuePurge(ctx, s.purgeSteps()) // one that fails holds nothing back
	if work > 0 {
		return work, failed
	}
	work, err = s.endCrowded(ctx)
	return work, errors.Join(failed, err)
}

// purge is one call of PurgeDeleted.
type purge struct {
	*tx
	life  meta.Lifetimes
	limit int
}

const (
	dueTenant = `SELECT id FROM tenants WHERE state = 'deleting' AND expire_at <= ?1 ORDER BY id LIMIT 1`

	giveUpRegistries = `
UPDATE registries SET expire_at = NULL
 WHERE id IN (SELECT g.id FROM registries g WHERE g.state = 'deleting' AND g.expire_at <= ?1 ORDER BY g.id LIMIT ?2)`

	giveUpRepositories = `
UPDATE repositories SET state = 'deleting'
 WHERE id IN (SELECT r.id FROM repositories r WHERE r.state = 'deleted' AND r.expire_at <= ?1 LIMIT ?2)`
)

// due begins the removal of what can no longer be restored.
func (p purge) due() (int, error) {
	var id tenant.ID
	found, err := p.find(dueTenant, []any{p.now}, &id)
	switch {
	case err != nil:
		return 0, err
	case found:
		return 1, sqlmeta.GiveUpTenant(p.records(), id)
	default:
		return p.steps(p.change(giveUpRegistries, p.now, p.limit), p.change(giveUpRepositories, p.now, p.limit))
	}
}

// CROSS JOIN keeps the order: from the few that are being deleted.
const (
	markRegistries = `
UPDATE registries SET state = 'deleting', expire_at = NULL
 WHERE id IN (SELECT g.id FROM tenants t CROSS JOIN registries g ON g.tenant_id = t.id
               WHERE t.state = 'deleting' AND t.expire_at IS NULL AND (g.state = 'active' OR g.expire_at IS NOT NULL) LIMIT ?1)`

	markRepositories = `
UPDATE repositories SET state = 'deleting', listed = 0
 WHERE id IN (SELECT r.id FROM registries g CROSS JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
               WHERE g.state = 'deleting' AND g.expire_at IS NULL AND r.state IN ('active', 'deleted') LIMIT ?1)`
)

func (p purge) marks() (int, error) {
	return p.steps(p.batches(markRegistries), p.batches(markRepositories))
}

// deletions does a step of a deletion of referrers whose request has ended.
func (p purge) deletions() (int, error) {
	var d deletion
	found, err := p.find(unfinishedDeletion, nil, &d.tenant, &d.repo, &d.op)
	if err != nil || !found {
		return 0, err
	}
	_, err = p.deleteReferrers(d, p.life)
	return 1, err
}

// removals does a step of the removal of a large manifest.
func (p purge) removals() (int, error) {
	var r removal
	found, err := p.find(anyRemoval, nil, &r.tenant, &r.repo, digestScanner{&r.digest})
	if err != nil || !found {
		return 0, err
	}
	_, err = p.removeSome(r, p.life)
	return 1, err
}

const deletingRepository = `SELECT tenant_id, id FROM repositories WHERE state = 'deleting' ORDER BY id LIMIT 1`

const (
	purgeTags = `
DELETE FROM tags WHERE (tenant_id, repo_id, name) IN
       (SELECT g.tenant_id, g.repo_id, g.name FROM tags g WHERE g.tenant_id = ?1 AND g.repo_id = ?2 LIMIT ?3)`
	purgeTagHistory = `
DELETE FROM tag_history WHERE (tenant_id, repo_id, name, version) IN
       (SELECT h.tenant_id, h.repo_id, h.name, h.version FROM tag_history h WHERE h.tenant_id = ?1 AND h.repo_id = ?2 LIMIT ?3)`
	purgeDeletions = `
DELETE FROM referrer_deletions WHERE (tenant_id, repo_id, op, subject) IN
       (SELECT d.tenant_id, d.repo_id, d.op, d.subject FROM referrer_deletions d WHERE d.tenant_id = ?1 AND d.repo_id = ?2 LIMIT ?3)`
	purgeKept = `
DELETE FROM kept_referrers WHERE (tenant_id, repo_id, op, digest) IN
       (SELECT k.tenant_id, k.repo_id, k.op, k.digest FROM kept_referrers k WHERE k.tenant_id = ?1 AND k.repo_id = ?2 LIMIT ?3)`
	purgeCacheTags = `
DELETE FROM cache_tags WHERE (tenant_id, repo_id, name) IN
       (SELECT g.tenant_id, g.repo_id, g.name FROM cache_tags g WHERE g.tenant_id = ?1 AND g.repo_id = ?2 LIMIT ?3)`

	// The references would go with their manifests, but one manifest has 10,000:
	// everybody's writes would wait for a thousand of those.
	purgeReferences = `
DELETE FROM manifest_blobs WHERE (tenant_id, repo_id, manifest, digest) IN
       (SELECT m.tenant_id, m.repo_id, m.manifest, m.digest FROM manifest_blobs m WHERE m.tenant_id = ?1 AND m.repo_id = ?2 LIMIT ?3)`
	purgeChildren = `
DELETE FROM manifest_children WHERE (tenant_id, repo_id, parent, child) IN
       (SELECT m.tenant_id, m.repo_id, m.parent, m.child FROM manifest_children m WHERE m.tenant_id = ?1 AND m.repo_id = ?2 LIMIT ?3)`
	purgeManifests = `
DELETE FROM manifests WHERE (tenant_id, repo_id, digest) IN
       (SELECT m.tenant_id, m.repo_id, m.digest FROM manifests m WHERE m.tenant_id = ?1 AND m.repo_id = ?2 LIMIT ?3)`

	purgeRepository = `DELETE FROM repositories WHERE tenant_id = ?1 AND id = ?2 AND state = 'deleting'`
)

// repository empties one repository and then deletes its row.
func (p purge) repository() (int, error) {
	var id tenant.ID
	var repo int64
	found, err := p.find(deletingRepository, nil, &id, &repo)
	if err != nil || !found {
		return 0, err
	}
	return p.steps(
		p.batches(purgeDeletions, id, repo),
		p.batches(purgeKept, id, repo),
		func() (int, error) { return p.uploads(id, repo) },
		p.batches(purgeTags, id, repo),
		p.batches(purgeTagHistory, id, repo),
		p.batches(purgeCacheTags, id, repo),
		p.batches(purgeReferences, id, repo),
		p.batches(purgeChildren, id, repo),
		p.batches(purgeManifests, id, repo),
		p.batches(purgeTrashedBlobs, id, repo),
		p.batches(purgeTrash, id, repo),
		func() (int, error) { return p.links(id, repo) },
		p.change(purgeRepository, id, repo),
	)
}

const uploadsOf = `
SELECT id, incarnation, tail FROM uploads WHERE tenant_id = ?1 AND repo_id = ?2 LIMIT ?3`

// uploads deletes sessions and condemns what they staged.
func (p purge) uploads(id tenant.ID, repo int64) (int, error) {
	var due []dueUpload
	err := p.list(uploadsOf, []any{id, repo, min(p.limit, purgeBatch)}, func(scan scan) error {
		var u dueUpload
		err := scan(&u.id, &u.incarnation, &u.tail)
		due = append(due, u)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, u := range due {
		if err := p.condemnStaged(id, p.life, u.incarnation, u.tail); err != nil {
			return 0, err
		}
		if _, err := p.exec(forgetUpload, id, u.id[:]); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

const linksOf = `
SELECT tenant_id, repo_id, digest FROM repo_blobs WHERE tenant_id = ?1 AND repo_id = ?2 ORDER BY digest LIMIT ?3`

// links unlinks blobs and makes them candidates for phase C.
func (p purge) links(id tenant.ID, repo int64) (int, error) {
	links, err := p.tx.links(linksOf, id, repo, min(p.limit, purgeBatch))
	if err != nil {
		return 0, err
	}
	for _, l := range links {
		if _, err := p.exec(releaseBlob, id, l.digest.Bytes(), p.now); err != nil {
			return 0, err
		}
		if _, err := p.exec(unlinkBlob, id, repo, l.digest.Bytes()); err != nil {
			return 0, err
		}
	}
	return len(links), nil
}

const deletingRegistry = `SELECT tenant_id, id FROM registries WHERE state = 'deleting' AND expire_at IS NULL ORDER BY id LIMIT 1`

const (
	purgeClaims = `
DELETE FROM name_claims WHERE (tenant_id, registry_id, name) IN
       (SELECT c.tenant_id, c.registry_id, c.name FROM name_claims c WHERE c.tenant_id = ?1 AND c.registry_id = ?2 LIMIT ?3)`

	purgeRegistry = `DELETE FROM registries WHERE tenant_id = ?1 AND id = ?2 AND state = 'deleting'`
)

// registry deletes one registry without repositories.
func (p purge) registry() (int, error) {
	var id tenant.ID
	var registry tenant.RegistryID
	found, err := p.find(deletingRegistry, nil, &id, &registry)
	if err != nil || !found {
		return 0, err
	}
	return p.steps(p.batches(purgeClaims, id, registry), p.change(purgeRegistry, id, registry))
}

const deletingTenant = `SELECT id FROM tenants WHERE state = 'deleting' AND expire_at IS NULL ORDER BY id LIMIT 1`

const (
	purgeAccounts = `
DELETE FROM accounts WHERE id IN (SELECT a.id FROM accounts a WHERE a.tenant_id = ?1 LIMIT ?2)`

	markTenantDeleted = `UPDATE tenants SET state = 'deleted', version = version + 1 WHERE id = ?1 AND state = 'deleting'`
)

// tenant deletes the rest of one tenant without registries. Its audit log stays,
// and its usage falls to 0 as phase C drops the blobs.
func (p purge) tenant() (int, error) {
	var id tenant.ID
	found, err := p.find(deletingTenant, nil, &id)
	if err != nil || !found {
		return 0, err
	}
	return p.steps(p.batches(purgeAccounts, id), p.change(markTenantDeleted, id))
}

// steps runs the first step that finds work.
func (p purge) steps(steps ...func() (int, error)) (int, error) {
	for _, step := range steps {
		if n, err := step(); err != nil || n > 0 {
			return n, err
		}
	}
	return 0, nil
}

// purgeBatch is how many rows a statement takes at a time: fifty manifests may be
// 200 MiB.
const purgeBatch = 50

// batches is a step of one statement whose last parameter is how many rows it
// takes: it is run until nothing is left, the call's limit is reached, or the step
// has had its time.
func (p purge) batches(query string, args ...any) func() (int, error) {
	return func() (int, error) {
		done := 0
		for {
			batch := min(p.limit-done, purgeBatch)
			n, err := p.exec(query, append(slices.Clip(args), batch)...)
			done += int(n)
			if err != nil || int(n) < batch || done >= p.limit || p.spent() {
				return done, err
			}
		}
	}
}

// change is a step of one statement.
func (p purge) change(query string, args ...any) func() (int, error) {
	return func() (int, error) {
		n, err := p.exec(query, args...)
		return int(n), err
	}
}
