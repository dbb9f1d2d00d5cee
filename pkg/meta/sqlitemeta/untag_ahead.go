package sqlitemeta

import (
	"context"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
)

// A manifest that more than untagFrom tags point to loses them in steps, before
// it is deleted.
const (
	untagFrom  = 500
	untagBatch = 100
)

const (
	countTags = `
SELECT count(*) FROM (SELECT 1 FROM tags WHERE tenant_id = ?1 AND repo_id = ?2 AND manifest = ?3 LIMIT ?4)`

	// Those that deleteSomeTags deletes first.
	someTags = `
SELECT g.name FROM tags g WHERE g.tenant_id = ?1 AND g.repo_id = ?2 AND g.manifest = ?3 LIMIT ?4`

	deleteSomeTags = `
DELETE FROM tags
 WHERE (tenant_id, repo_id, name) IN
       (SELECT g.tenant_id, g.repo_id, g.name FROM tags g WHERE g.tenant_id = ?1 AND g.repo_id = ?2 AND g.manifest = ?3 LIMIT ?4)`
)

// untagAhead takes tags from a manifest that is to be deleted until few are left.
// Each step is a deletion of tags of its own, with its event: a request that ends
// between two has deleted these tags, and the manifest is there.
func (s *Store) untagAhead(ctx context.Context, del meta.ManifestDelete) error {
	var overridden []meta.Change
	for n := 0; ; n++ {
		more := false
		err := s.writeFor(ctx, del.Repo.Tenant, func(t *tx) error {
			repo, err := t.repository(del.Repo, hosted)
			if err != nil {
				return err
			}
			if n == 0 { // all of them, so that what is refused changes nothing
				guard, err := t.guardAbove(del, repo.id)
				if err != nil {
					return err
				}
				if overridden, err = guard.Decide(del.By); err != nil {
					return err
				}
			}
			more, err = t.hasManyTags(repo, del)
			return err
		})
		if err != nil || !more {
			return err
		}
		err = s.step(ctx, del.Repo.Tenant, func(t *tx) error {
			repo, err := t.repository(del.Repo, hosted)
			if err != nil {
				return err
			}
			by := del.By
			by.Op = uuid.NewSHA1(del.By.Op, []byte(strconv.Itoa(n)))
			if by.Changes, err = t.goneWith(del.Repo.Tenant, repo.id, del.Digest); err != nil {
				return err
			}
			by.Changes = slices.Concat(overridden, by.Changes)
			if err := t.event(by, del.Repo.Tenant, "tag.delete", target(repo, nil, del.Digest)); err != nil {
				return err
			}
			if err := t.refuseNamed(del, repo.id); err != nil {
				return err
			}
			return t.deleteSomeTags(repo, del, by.Op)
		})
		if err != nil {
			return err
		}
	}
}

func (t *tx) hasManyTags(repo repository, del meta.ManifestDelete) (bool, error) {
	var n int
	_, err := t.find(countTags, []any{del.Repo.Tenant, repo.id, del.Digest.Bytes(), untagFrom + 1}, &n)
	return n > untagFrom, err
}

// goneWith are the changes of tags that a transaction deletes with their manifest.
func (t *tx) goneWith(id tenant.ID, repo int64, d oci.Digest) ([]meta.Change, error) {
	var names []string
	err := t.list(someTags, []any{id, repo, d.Bytes(), meta.MaxChanges + 1}, func(scan scan) error {
		name, err := scanName(scan)
		names = append(names, name)
		return err
	})
	var gone meta.TagMoves
	gone.AddGone(names, d)
	return gone.Changes, err
}

// deleteSomeTags refuses to delete protected ones: they may be younger than the first
// decision.
func (t *tx) deleteSomeTags(repo repository, del meta.ManifestDelete, op uuid.UUID) error {
	id, key := del.Repo.Tenant, del.Digest.Bytes()
	guard, err := t.tagGuard(del.Repo, tagrule.Delete)
	if err != nil {
		return err
	}
	for {
		if !guard.Idle() {
			err := t.list(someTags, []any{id, repo.id, key, untagBatch}, func(scan scan) error {
				name, err := scanName(scan)
				guard.Add(name)
				return err
			})
			if err != nil {
				return err
			}
			if _, err := guard.Decide(del.By); err != nil {
				return err
			}
		}
		n, err := t.untagSome(id, repo.id, del.Digest, op, untagBatch)
		if err != nil || n < untagBatch || t.spent() {
			return err
		}
	}
}
