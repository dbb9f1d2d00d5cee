package sqlitemeta

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

// checkDeletion counts a deletion that a retention policy decided on, and compares what it
// was decided by: the manifest before it is deleted, a tag alone after that.
func (t *tx) checkDeletion(d meta.RetentionDeletion, repo int64) error {
	if err := sqlmeta.CountDeletion(t.records(), d); err != nil {
		return err
	}
	if d.Deletion.Tag != "" {
		return sqlmeta.CheckTagBasis(t.records(), d.Repo.Tenant, repo, d.Basis)
	}
	return sqlmeta.CheckBasis(t.records(), d.Repo.Tenant, repo, d.Basis)
}
