package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/tenant"
)

// manifestsFrom reads a page of all manifests, and whether their references are
// not counted yet.
const manifestsFrom = `
SELECT tenant_id, repo_id, digest, refs IS NULL FROM manifests
 WHERE (tenant_id, repo_id, digest) > (?1, ?2, ?3) ORDER BY tenant_id, repo_id, digest LIMIT ?4`

// countReferences charges references by a trigger, even beyond the quota: stored
// manifests stay.
const countReferences = `
UPDATE manifests SET refs =
       (SELECT count(*) FROM manifest_blobs mb WHERE mb.tenant_id = ?1 AND mb.repo_id = ?2 AND mb.manifest = ?3)
     + (SELECT count(*) FROM manifest_children c WHERE c.tenant_id = ?1 AND c.repo_id = ?2 AND c.parent = ?3)
 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3 AND refs IS NULL`

// pageOfManifests is how many manifests are read, and changed, at a time.
const pageOfManifests = 200

type uncounted struct {
	link
	isNull bool
}

func scanUncounted(scan scan) (uncounted, error) {
	var u uncounted
	err := scan(&u.tenant, &u.repo, digestScanner{&u.digest}, &u.isNull)
	return u, err
}

// SettleCharges implements meta.Collector.
func (s *Store) SettleCharges(ctx context.Context) (int, error) {
	references, err := s.settleReferences(ctx)
	if err != nil {
		return references, err
	}
	tags, err := s.dropDeletedTags(ctx)
	return references + tags, err
}

func (s *Store) settleReferences(ctx context.Context) (int, error) {
	counted := 0
	for t, repo, d := tenant.ID(0), int64(0), []byte{}; ; {
		page, err := collect(ctx, s, scanUncounted, manifestsFrom, t, repo, d, pageOfManifests)
		if err != nil || len(page) == 0 {
			return counted, err
		}
		var due []link
		for _, m := range page {
			t, repo, d = m.tenant, m.repo, m.digest.Bytes()
			if m.isNull {
				due = append(due, m.link)
			}
		}
		if err := s.countReferences(ctx, due); err != nil {
			return counted, err
		}
		counted += len(due)
	}
}

func (s *Store) countReferences(ctx context.Context, due []link) error {
	if len(due) == 0 {
		return nil
	}
	return s.write(ctx, func(t *tx) error {
		for _, l := range due {
			if _, err := t.exec(countReferences, l.tenant, l.repo, l.digest.Bytes()); err != nil {
				return err
			}
		}
		return nil
	})
}
