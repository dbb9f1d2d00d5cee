package pgmeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
)

// PurgeDigest implements meta.Purges.
func (s *Store) PurgeDigest(ctx context.Context, p meta.DigestPurge) (meta.PurgeState, error) {
	return s.Records.PurgeDigest(ctx, p, s.purgeSteps())
}

func (s *Store) purgeSteps() sqlmeta.PurgeSteps {
	return sqlmeta.PurgeSteps{Delete: s.purgeManifest, Stopping: s.quiet.Load}
}

// Also one that is deleted, or being removed.
const lockRepositoryToPurge = `SELECT id FROM repositories WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE`

const countPurgedTags = `
SELECT count(*) FROM (SELECT 1 FROM tags g WHERE g.tenant_id = $1 AND g.repo_id = $2 AND g.manifest = $3 LIMIT $4) AS pointing`

// untagPurged takes tags from a manifest that is to be purged until few are left, as
// untagAhead does. It reports whether the purge runs.
func (s *Store) untagPurged(ctx context.Context, p sqlmeta.PurgedManifest) (bool, error) {
	for {
		var tags int
		_, err := s.find(ctx, p.Tenant, countPurgedTags, []any{p.Tenant, p.Repo, p.Digest.Bytes(), untagFrom + 1}, &tags)
		if err != nil || tags <= untagFrom {
			return true, err
		}
		runs, named := false, false
		err = s.write(ctx, p.Tenant, func(t *tx) error {
			var err error
			if runs, err = sqlmeta.HoldPurge(t.records(), p.Tenant, p.Purge, p.Op); err != nil || !runs {
				return err
			}
			named, err = t.untagPurged(p)
			return err
		})
		if err != nil || !runs || named {
			return runs, err
		}
	}
}

// untagPurged is one of these transactions. It reports whether an index names the manifest
// by now, whose turn comes later: then it does nothing.
func (t *tx) untagPurged(p sqlmeta.PurgedManifest) (bool, error) {
	var names []string
	named := false
	t.queue(lockRepositoryToPurge, p.Tenant, p.Repo)
	t.queue(lockSomeTags, p.Tenant, p.Repo, p.Digest.Bytes(), untagFrom).Query(each(func(scan scan) error {
		name, err := scanName(scan)
		names = append(names, name)
		return err
	}))
	t.queue(namingIndexes, p.Tenant, p.Repo, stored([]oci.Digest{p.Digest}), 1).Query(each(func(scan scan) error {
		named = true
		return scan(digestScanner{new(oci.Digest)}, digestScanner{new(oci.Digest)})
	}))
	if err := t.flush(); err != nil || named {
		return named, err
	}
	by := p.By
	by.Op = uuid.New()
	var gone meta.TagMoves
	gone.AddGone(names, p.Digest)
	by.Changes = gone.Changes
	if err := sqlmeta.Event(t.records(), by, p.Tenant, "tag.delete", p.Target); err != nil {
		return false, err
	}
	t.queue(deleteTags, p.Tenant, p.Repo, names, pgUUID(by.Op))
	return false, nil
}

// purgeManifest deletes a manifest into no trash, and lets go of what it names at once. One
// with very many tags loses them in transactions of their own.
func (s *Store) purgeManifest(ctx context.Context, p sqlmeta.PurgedManifest) (bool, error) {
	if runs, err := s.untagPurged(ctx, p); err != nil || !runs {
		return runs, err
	}
	life := s.life
	life.Undelete, life.Released = 0, 0
	runs := false
	err := s.write(ctx, p.Tenant, func(t *tx) error {
		var err error
		if runs, err = sqlmeta.HoldPurge(t.records(), p.Tenant, p.Purge, p.Op); err != nil || !runs {
			return err
		}
		t.queue(lockRepositoryToPurge, p.Tenant, p.Repo)
		d, err := t.lockToDelete(p.Tenant, p.Repo, []oci.Digest{p.Digest})
		if err != nil {
			return err
		}
		if len(d.locked) == 0 || len(d.parents) > 0 {
			return errUndo
		}
		by := p.By
		var gone meta.TagMoves
		gone.AddGone(d.tags, p.Digest)
		by.Changes = gone.Changes
		if err := sqlmeta.Event(t.records(), by, p.Tenant, meta.ManifestPurged, p.Target); err != nil {
			return err
		}
		t.queue(sqlmeta.RememberPurged, p.Tenant, p.Repo, p.Digest.Bytes(), p.Purge.Bytes())
		t.queue(sqlmeta.RememberManifest, p.Tenant, p.Repo, p.Digest.Bytes(), p.Purge.Bytes())
		t.queueDelete(p.Tenant, p.Repo, d, p.Op, life)
		return nil
	})
	if err == nil {
		s.hide(context.WithoutCancel(ctx), p.Tenant, p.Repo)
	}
	return runs, err
}
