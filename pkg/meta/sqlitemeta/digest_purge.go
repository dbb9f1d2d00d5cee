package sqlitemeta

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
	return sqlmeta.PurgeSteps{Delete: s.purgeManifest, Stopping: s.stopping}
}

// rememberSome is sqlmeta.RememberPurged for a step of a removal, if its operation is a purge.
const rememberSome = `
INSERT INTO purged_digests (tenant_id, purge, repo_id, digest, manifest)
SELECT p.tenant_id, p.digest, ?2, unhex(j.value), 0
  FROM digest_purges p CROSS JOIN json_each(?4) j
 WHERE p.tenant_id = ?1 AND p.op = ?3
ON CONFLICT DO NOTHING`

func (t *tx) rememberSome(r removal, some []oci.Digest) error {
	_, err := t.exec(rememberSome, r.tenant, r.repo, r.op[:], inJSON(some))
	return err
}

// purgeManifest deletes a manifest into no trash, and lets go of what it names at once. A
// large one goes in steps.
func (s *Store) purgeManifest(ctx context.Context, p sqlmeta.PurgedManifest) (bool, error) {
	gone := removal{tenant: p.Tenant, repo: p.Repo, digest: p.Digest, op: p.Op}
	runs := false
	err := s.writeFor(ctx, p.Tenant, func(t *tx) error {
		var err error
		if runs, err = sqlmeta.HoldPurge(t.records(), p.Tenant, p.Purge, p.Op); err != nil || !runs {
			return err
		}
		return t.purgeManifest(p, gone, s.life)
	})
	if err != nil || !runs {
		return runs, err
	}
	return true, s.finishRemoval(ctx, gone)
}

func (t *tx) purgeManifest(p sqlmeta.PurgedManifest, gone removal, life meta.Lifetimes) error {
	life.Undelete, life.Released = 0, 0
	key, purge := p.Digest.Bytes(), p.Purge.Bytes()
	there, err := t.find(isManifest, []any{p.Tenant, p.Repo, key}, new(int))
	if err != nil || !there {
		return err
	}
	named, err := t.find(namingIndexes, []any{p.Tenant, p.Repo, key, 1}, digestScanner{new(oci.Digest)})
	if err != nil || named {
		return err
	}
	if _, err := t.exec(sqlmeta.RememberManifest, p.Tenant, p.Repo, key, purge); err != nil {
		return err
	}
	going, err := t.find(findRemoval, []any{p.Tenant, p.Repo, key}, new([]byte))
	if err != nil || going {
		return err
	}
	by := p.By
	if by.Changes, err = t.goneWith(p.Tenant, p.Repo, p.Digest); err != nil {
		return err
	}
	if err := sqlmeta.Event(t.records(), by, p.Tenant, meta.ManifestPurged, p.Target); err != nil {
		return err
	}
	if large, err := t.beginRemoval(gone); err != nil || large {
		return err
	}
	if _, err := t.exec(sqlmeta.RememberPurged, p.Tenant, p.Repo, key, purge); err != nil {
		return err
	}
	if _, err := t.deleteManifest(gone, life); err != nil {
		return err
	}
	_, err = t.exec(hideRepository, p.Tenant, p.Repo)
	return err
}
