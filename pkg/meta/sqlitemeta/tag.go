package sqlitemeta

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// A tag's version only grows: a new row continues its history, or begins with the time,
// which is greater than the versions of a deleted tag of the same name.
const moveTag = `
INSERT INTO tags (tenant_id, repo_id, name, manifest, version)
SELECT ?1, ?2, ?3, ?4, coalesce((SELECT max(h.version) FROM tag_history h WHERE h.tenant_id = ?1 AND h.repo_id = ?2 AND h.name = ?3), ?5) + 1 WHERE true
ON CONFLICT (tenant_id, repo_id, name) DO UPDATE SET manifest = excluded.manifest, version = tags.version + 1`

// The index leaves out the rows that versions before kept of deleted tags, of which
// there may be many more.
const listTags = `
SELECT g.name
  FROM repositories r
  JOIN tags g INDEXED BY tags_listed ON g.tenant_id = r.tenant_id AND g.repo_id = r.id
 WHERE r.tenant_id = ?1 AND r.registry_id = ?2 AND r.name = ?3 AND r.state = 'active' AND g.manifest IS NOT NULL AND g.name > ?4
 ORDER BY g.name LIMIT ?5`

// ListTags implements meta.Tags.
func (s *Store) ListTags(ctx context.Context, r meta.Repo, p meta.Page) ([]string, error) {
	tags, err := collect(ctx, s, scanName, listTags, r.Tenant, r.Registry, r.Name, p.After, p.Size)
	if err == nil && len(tags) == 0 {
		err = s.absent(ctx, r, nil)
	}
	return tags, err
}

const tagsBetween = `
SELECT g.name
  FROM repositories r
  JOIN tags g INDEXED BY tags_listed ON g.tenant_id = r.tenant_id AND g.repo_id = r.id
 WHERE r.tenant_id = ?1 AND r.registry_id = ?2 AND r.name = ?3 AND r.state = 'active'
   AND g.manifest IS NOT NULL AND g.name > ?4 AND g.name < ?5
 ORDER BY g.name LIMIT ?6`

const tagsDescending = `
SELECT g.name
  FROM repositories r
  JOIN tags g INDEXED BY tags_listed ON g.tenant_id = r.tenant_id AND g.repo_id = r.id
 WHERE r.tenant_id = ?1 AND r.registry_id = ?2 AND r.name = ?3 AND r.state = 'active'
   AND g.manifest IS NOT NULL AND g.name > ?4 AND g.name < ?5
 ORDER BY g.name DESC LIMIT ?6`

// TagsBetween implements meta.Tags.
func (s *Store) TagsBetween(ctx context.Context, r meta.Repo, b meta.Between[string]) ([]string, error) {
	var tags []string
	var err error
	if b.Descending {
		tags, err = collect(ctx, s, scanName, tagsDescending, r.Tenant, r.Registry, r.Name, b.After, b.Before, b.Size)
	} else {
		tags, err = collect(ctx, s, scanName, tagsBetween, r.Tenant, r.Registry, r.Name, b.After, b.Before, b.Size)
	}
	if err == nil && len(tags) == 0 {
		err = s.absent(ctx, r, nil)
	}
	return tags, err
}

const deleteTag = `
DELETE FROM tags WHERE tenant_id = ?1 AND repo_id = ?2 AND name = ?3 AND manifest IS NOT NULL`

const findTag = `SELECT manifest FROM tags WHERE tenant_id = ?1 AND repo_id = ?2 AND name = ?3`

// moves are the changes of tags that point to other manifests, and will to this one;
// none: they are deleted.
func (t *tx) moves(id tenant.ID, repo int64, tags []string, to oci.Digest) ([]meta.Change, error) {
	var moves meta.TagMoves
	for _, tag := range tags {
		var old oci.Digest
		if _, err := t.find(findTag, []any{id, repo, tag}, digestScanner{&old}); err != nil {
			return nil, err
		}
		moves.Add(tag, old, to)
	}
	return moves.Changes, nil
}

// DeleteTag implements meta.Tags.
func (s *Store) DeleteTag(ctx context.Context, by meta.Cause, r meta.Repo, tag string) error {
	return s.deleteTag(ctx, by, r, tag, nil)
}

// deleteTag deletes a tag, by what a retention policy decided that, or without any.
func (s *Store) deleteTag(ctx context.Context, by meta.Cause, r meta.Repo, tag string, evaluated *meta.RetentionDeletion) error {
	validateOnly := by.ValidateOnly
	by.ValidateOnly = false // its event is taken back, too
	return s.writeFor(ctx, r.Tenant, func(t *tx) error {
		repo, err := t.repository(r, hosted)
		if err != nil {
			return err
		}
		by := by // an attempt of its own
		moves, err := t.moves(r.Tenant, repo.id, []string{tag}, "")
		if err != nil {
			return err
		}
		by.Changes = slices.Concat(by.Changes, moves)
		if err := t.event(by, r.Tenant, "tag.delete", repo.target+":"+tag); err != nil {
			return err
		}
		if _, err := t.exec(recordTagDeletion, r.Tenant, repo.id, tag, by.Actor, t.now, by.Op[:]); err != nil {
			return err
		}
		n, err := t.exec(deleteTag, r.Tenant, repo.id, tag)
		if err == nil && n == 0 {
			err = manifestUnknown(tag)
		}
		if err != nil {
			return err
		}
		if evaluated != nil {
			if err := t.checkDeletion(*evaluated, repo.id); err != nil {
				return err
			}
		}
		if err := t.guardTag(by, r, tag); err != nil || !validateOnly {
			return err
		}
		return sqlmeta.ErrAlreadyDone
	})
}
