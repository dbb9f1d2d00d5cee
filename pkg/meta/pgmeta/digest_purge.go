package pgmeta

import (
	"context"

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

// purgeManifest deletes a manifest into no trash, and lets go of what it names at once.
func (s *Store) purgeManifest(ctx context.Context, p sqlmeta.PurgedManifest) (bool, error) {
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
