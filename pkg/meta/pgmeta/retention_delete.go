package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
)

// DeleteEvaluated implements meta.RetentionRuns.
func (s *Store) DeleteEvaluated(ctx context.Context, d meta.RetentionDeletion) error {
	if d.Deletion.Tag != "" {
		return s.deleteTag(ctx, d.By, d.Repo, d.Deletion.Tag, &d)
	}
	return s.DeleteManifest(ctx, meta.ManifestDelete{Repo: d.Repo, Digest: d.Deletion.Digest, By: d.By, Evaluated: &d})
}

// countDeletion begins a transaction that a retention policy decided on.
func (t *tx) countDeletion(d *meta.RetentionDeletion) error {
	if d == nil {
		return nil
	}
	return sqlmeta.CountDeletion(t.records(), *d)
}
