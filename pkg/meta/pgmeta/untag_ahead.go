package pgmeta

import (
	"context"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
)

// A manifest that more than untagFrom tags point to loses them in transactions of
// their own, before it is deleted: each tag changes the charge of its tenant, and
// the row of that charge is for one transaction at a time.
const untagFrom = 500

const (
	countTags = `
SELECT count(*) FROM (
       SELECT 1 FROM open_repositories r JOIN tags g ON g.tenant_id = r.tenant_id AND g.repo_id = r.id AND g.manifest = $4
        WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 LIMIT $5) AS pointing`

	lockSomeTags = `
SELECT locked.name
  FROM (SELECT g.name FROM tags g WHERE g.tenant_id = $1 AND g.repo_id = $2 AND g.manifest = $3 ORDER BY g.name LIMIT $4) AS wanted
 CROSS JOIN LATERAL (
        SELECT g.name FROM tags g
         WHERE g.tenant_id = $1 AND g.repo_id = $2 AND g.name = wanted.name AND g.manifest = $3
        OFFSET 0
           FOR UPDATE) AS locked`
)

// untagAhead takes tags from a manifest that is to be deleted until few are left.
// Each transaction is a deletion of tags of its own, with its event: a request that
// ends between two has deleted these tags, and the manifest is there.
func (s *Store) untagAhead(ctx context.Context, del meta.ManifestDelete) error {
	r := del.Repo
	for n := 0; ; n++ {
		var tags int
		_, err := s.find(ctx, r.Tenant, countTags, []any{r.Tenant, r.Registry, r.Name, del.Digest.Bytes(), untagFrom + 1}, &tags)
		if err != nil || tags <= untagFrom {
			return err
		}
		by := del.By
		by.Op = uuid.NewSHA1(del.By.Op, []byte(strconv.Itoa(n)))
		err = s.write(ctx, r.Tenant, func(t *tx) error { return t.untag(by, del, n == 0) })
		if err != nil {
			return err
		}
	}
}

// untag is one of these transactions. The first one decides about all tags that lead to
// the manifest, so that what is refused changes nothing.
func (t *tx) untag(by meta.Cause, del meta.ManifestDelete, first bool) error {
	r := del.Repo
	var recorded int64
	var rules tagrule.Rules
	repo := t.lockRepository(r)
	t.queueTagRules(r, &rules)
	if err := t.repositoryEvent(by, r, "tag.delete", suffix(nil, del.Digest), &recorded); err != nil {
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	switch {
	case !repo.isHosted():
		return nameUnknown(r)
	case recorded == 0:
		return sqlmeta.ErrAlreadyDone
	}
	guard := meta.GuardTags(rules, tagrule.Delete, r.Name)
	var names []string
	var parents []oci.Digest
	t.queue(lockSomeTags, r.Tenant, repo.id, del.Digest.Bytes(), untagFrom).Query(each(func(scan scan) error {
		name, err := scanName(scan)
		if names = append(names, name); !first {
			guard.Add(name)
		}
		return err
	}))
	if first && !guard.Idle() {
		t.queueTagsAbove(guard, r.Tenant, repo.id, del.Digest)
	}
	t.queue(namingIndexes, r.Tenant, repo.id, stored([]oci.Digest{del.Digest}), meta.MaxParents+1).Query(each(func(scan scan) error {
		var child, parent oci.Digest
		err := scan(digestScanner{&child}, digestScanner{&parent})
		parents = append(parents, parent)
		return err
	}))
	if err := t.flush(); err != nil {
		return err
	}
	overridden, err := guard.Decide(by)
	if err != nil {
		return err
	}
	if len(parents) > 0 && !del.Force {
		return meta.NamedByIndex(del.Digest, parents)
	}
	var gone meta.TagMoves
	gone.AddGone(names, del.Digest)
	t.eventChanges(by, r.Tenant, slices.Concat(overridden, gone.Changes))
	t.queue(deleteTags, r.Tenant, repo.id, names, pgUUID(by.Op))
	return nil
}
