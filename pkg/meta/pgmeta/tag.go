package pgmeta

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
)

// The index leaves out the rows that versions before kept of deleted tags, of which
// there may be many more.
const listTags = `
SELECT page.name
  FROM repositories r
 CROSS JOIN LATERAL (
        SELECT g.name FROM tags g
         WHERE g.tenant_id = r.tenant_id AND g.repo_id = r.id AND g.manifest IS NOT NULL AND g.name > $4
         ORDER BY g.name LIMIT $5) AS page
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'
 ORDER BY page.name`

// ListTags implements meta.Tags.
func (s *Store) ListTags(ctx context.Context, r meta.Repo, p meta.Page) ([]string, error) {
	tags, err := collect(ctx, s, r.Tenant, scanName, listTags, r.Tenant, r.Registry, r.Name, p.After, p.Size)
	if err == nil && len(tags) == 0 {
		err = s.absent(ctx, r, nil)
	}
	return tags, err
}

const tagsBetween = `
SELECT page.name
  FROM repositories r
 CROSS JOIN LATERAL (
        SELECT g.name FROM tags g
         WHERE g.tenant_id = r.tenant_id AND g.repo_id = r.id AND g.manifest IS NOT NULL AND g.name > $4 AND g.name < $5
         ORDER BY g.name LIMIT $6) AS page
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'
 ORDER BY page.name`

const tagsDescending = `
SELECT page.name
  FROM repositories r
 CROSS JOIN LATERAL (
        SELECT g.name FROM tags g
         WHERE g.tenant_id = r.tenant_id AND g.repo_id = r.id AND g.manifest IS NOT NULL AND g.name > $4 AND g.name < $5
         ORDER BY g.name DESC LIMIT $6) AS page
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'
 ORDER BY page.name DESC`

// TagsBetween implements meta.Tags.
func (s *Store) TagsBetween(ctx context.Context, r meta.Repo, b meta.Between[string]) ([]string, error) {
	var tags []string
	var err error
	if b.Descending {
		tags, err = collect(ctx, s, r.Tenant, scanName, tagsDescending, r.Tenant, r.Registry, r.Name, b.After, b.Before, b.Size)
	} else {
		tags, err = collect(ctx, s, r.Tenant, scanName, tagsBetween, r.Tenant, r.Registry, r.Name, b.After, b.Before, b.Size)
	}
	if err == nil && len(tags) == 0 {
		err = s.absent(ctx, r, nil)
	}
	return tags, err
}

// DeleteTag implements meta.Tags.
func (s *Store) DeleteTag(ctx context.Context, by meta.Cause, r meta.Repo, tag string) error {
	return s.deleteTag(ctx, by, r, tag, nil)
}

// deleteTag deletes a tag, by what a retention policy decided that, or without any.
func (s *Store) deleteTag(ctx context.Context, by meta.Cause, r meta.Repo, tag string, evaluated *meta.RetentionDeletion) error {
	return s.write(ctx, r.Tenant, func(t *tx) error {
		var recorded int64
		var deleted bool
		var was oci.Digest
		var rules tagrule.Rules
		if err := t.countDeletion(evaluated); err != nil {
			return err
		}
		repo := t.lockRepository(r)
		t.queueTagRules(r, &rules)
		if err := t.repositoryEvent(by, r, "tag.delete", ":"+tag, &recorded); err != nil {
			return err
		}
		t.queue(deleteTag, r.Tenant, r.Registry, r.Name, tag, by.Actor, pgUUID(by.Op)).QueryRow(first(&deleted, digestScanner{&was}))
		if err := t.flush(); err != nil {
			return err
		}
		switch {
		case !repo.isHosted():
			return nameUnknown(r)
		case recorded == 0:
			return sqlmeta.ErrAlreadyDone
		case !deleted:
			return manifestUnknown(tag)
		}
		if evaluated != nil {
			if err := sqlmeta.CheckTagBasis(t.records(), r.Tenant, repo.id, evaluated.Basis); err != nil {
				return err
			}
		}
		g := meta.GuardTags(rules, tagrule.Delete, r.Name)
		g.Add(tag)
		overridden, err := g.Decide(by)
		if err != nil {
			return err
		}
		if by.ValidateOnly {
			return sqlmeta.ErrAlreadyDone
		}
		var moves meta.TagMoves
		moves.Add(tag, was, "")
		t.eventChanges(by, r.Tenant, slices.Concat(by.Changes, overridden, moves.Changes))
		return nil
	})
}
