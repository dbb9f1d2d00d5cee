package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/tenant"
)

// tagsFrom reads a page of all tags, with whether the row is of a deleted tag,
// which older versions kept.
const tagsFrom = `
SELECT tenant_id, repo_id, name, manifest IS NULL FROM tags
 WHERE (tenant_id, repo_id, name) > (?1, ?2, ?3) ORDER BY tenant_id, repo_id, name LIMIT ?4`

// It decides again: the tag may have been pushed since.
const dropDeletedTag = `DELETE FROM tags WHERE tenant_id = ?1 AND repo_id = ?2 AND name = ?3 AND manifest IS NULL`

const pageOfTags = 1000

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
		page, err := collect(ctx, s, scanKeptTag, tagsFrom, last.tenant, last.repo, last.name, pageOfTags)
		if err != nil || len(page) == 0 {
			return dropped, err
		}
		var due []keptTag
		for _, g := range page {
			if last = g; g.deleted {
				due = append(due, g)
			}
		}
		for len(due) > 0 {
			n := 0
			err := s.step(ctx, deployment, func(t *tx) error {
				n = 0
				for _, g := range due {
					if _, err := t.exec(dropDeletedTag, g.tenant, g.repo, g.name); err != nil {
						return err
					}
					if n++; t.spent() {
						break
					}
				}
				return nil
			})
			if err != nil {
				return dropped, err
			}
			dropped, due = dropped+n, due[n:]
		}
	}
}
