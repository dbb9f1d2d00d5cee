package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/tenant"
)

// manifestsFrom reads a page of all manifests, and whether their references are
// not counted yet.
const manifestsFrom = `
SELECT tenant_id, repo_id, digest, refs IS NULL FROM manifests
 WHERE (tenant_id, repo_id, digest) > ($1, $2, $3) ORDER BY tenant_id, repo_id, digest LIMIT $4`

// countReferences charges references by a trigger, even beyond the quota: stored
// manifests stay. What others have locked is left for the next time.
const countReferences = `
WITH locked AS MATERIALIZED (
  SELECT due.tenant_id, due.repo_id, due.digest
    FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest) ORDER BY l.tenant_id, l.repo_id, l.digest OFFSET 0) AS wanted
   CROSS JOIN LATERAL (
          SELECT m.tenant_id, m.repo_id, m.digest FROM manifests m
           WHERE m.tenant_id = wanted.tenant_id AND m.repo_id = wanted.repo_id AND m.digest = wanted.digest AND m.refs IS NULL
          OFFSET 0
             FOR NO KEY UPDATE SKIP LOCKED) AS due
)
UPDATE manifests m SET refs =
       (SELECT count(*) FROM manifest_blobs mb WHERE mb.tenant_id = m.tenant_id AND mb.repo_id = m.repo_id AND mb.manifest = m.digest)
     + (SELECT count(*) FROM manifest_children c WHERE c.tenant_id = m.tenant_id AND c.repo_id = m.repo_id AND c.parent = m.digest)
  FROM locked WHERE m.tenant_id = locked.tenant_id AND m.repo_id = locked.repo_id AND m.digest = locked.digest
RETURNING m.tenant_id`

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
	references := 0
	for t, repo, d := tenant.ID(0), int64(0), []byte{}; ; {
		page, err := collect(ctx, s, noTenant, scanUncounted, manifestsFrom, t, repo, d, pageOfManifests)
		if err != nil || len(page) == 0 {
			return references, err
		}
		var due links
		for _, m := range page {
			t, repo, d = m.tenant, m.repo, m.digest.Bytes()
			if m.isNull {
				due.add(m.link)
			}
		}
		if due.len() == 0 {
			continue
		}
		var n int
		err = s.write(ctx, noTenant, func(t *tx) error {
			var err error
			n, err = t.charge(countReferences, due.tenants, due.repos, due.digests)
			return err
		})
		references += n
		if err != nil {
			return references, err
		}
	}
}
