package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/tenant"
)

// tagsFrom reads a page of all tags, with whether the row is of a deleted tag,
// which older versions kept.
const tagsFrom = `
SELECT tenant_id, repo_id, name, manifest IS NULL FROM tags
 WHERE (tenant_id, repo_id, name) > ($1, $2, $3) ORDER BY tenant_id, repo_id, name LIMIT $4`

// What others have locked is being pushed, or left for the next time.
const dropDeletedTags = `
DELETE FROM tags g
 USING (SELECT due.tenant_id, due.repo_id, due.name
          FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS l (tenant_id, repo_id, name) OFFSET 0) AS wanted
         CROSS JOIN LATERAL (
                SELECT t.tenant_id, t.repo_id, t.name FROM tags t
                 WHERE t.tenant_id = wanted.tenant_id AND t.repo_id = wanted.repo_id AND t.name = wanted.name AND t.manifest IS NULL
                OFFSET 0
                   FOR UPDATE SKIP LOCKED) AS due) AS locked
 WHERE g.tenant_id = locked.tenant_id AND g.repo_id = locked.repo_id AND g.name = locked.name
RETURNING locked.tenant_id`

// pageOfTags is how many tags are read, and dropped, at a time. Each that is dropped
// changes the charge of its tenant.
const pageOfTags = 500

// tagRows are rows of tags of several tenants, as they go into a statement.
type tagRows struct {
	tenants, repos []int64
	names          []string
}

func (r *tagRows) add(g keptTag) {
	r.tenants, r.repos, r.names = append(r.tenants, int64(g.tenant)), append(r.repos, g.repo), append(r.names, g.name)
}

type keptTag struct {
	tenant  tenant.ID
	repo    int64
	name    string
	deleted bool
}

func scanKeptTag(scan scan) (keptTag, error) {
	var g keptTag
	err := scan(&g.tenant, &g.repo, &g.name, &g.deleted)
	return g, err
}

// dropDeletedTags drops the rows of deleted tags, and returns how many.
func (s *Store) dropDeletedTags(ctx context.Context) (int, error) {
	dropped := 0
	for last := (keptTag{}); ; {
		page, err := collect(ctx, s, noTenant, scanKeptTag, tagsFrom, last.tenant, last.repo, last.name, pageOfTags)
		if err != nil || len(page) == 0 {
			return dropped, err
		}
		var due tagRows
		for _, g := range page {
			if last = g; g.deleted {
				due.add(g)
			}
		}
		if len(due.names) == 0 {
			continue
		}
		var n int
		err = s.write(ctx, noTenant, func(t *tx) error {
			var err error
			n, err = t.charge(dropDeletedTags, due.tenants, due.repos, due.names)
			return err
		})
		dropped += n
		if err != nil {
			return dropped, err
		}
	}
}
