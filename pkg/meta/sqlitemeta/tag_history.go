package sqlitemeta

import (
	"context"
	"math"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	recordMove = `
INSERT INTO tag_history (tenant_id, repo_id, name, version, manifest, previous, verb, actor, at, op)
SELECT g.tenant_id, g.repo_id, g.name, g.version, g.manifest, ?4, ?5, ?6, ?7, ?8 FROM tags g
 WHERE g.tenant_id = ?1 AND g.repo_id = ?2 AND g.name = ?3`

	trimMoves = `
DELETE FROM tag_history
 WHERE tenant_id = ?1 AND repo_id = ?2 AND name = ?3
   AND version <= (SELECT g.version FROM tags g WHERE g.tenant_id = ?1 AND g.repo_id = ?2 AND g.name = ?3) - ?4`

	recordTagDeletion = `
INSERT INTO tag_history (tenant_id, repo_id, name, version, previous, verb, actor, at, op)
SELECT g.tenant_id, g.repo_id, g.name, g.version + 1, g.manifest, 'delete', ?4, ?5, ?6 FROM tags g
 WHERE g.tenant_id = ?1 AND g.repo_id = ?2 AND g.name = ?3 AND g.manifest IS NOT NULL`

	// Of those that deleteSomeTags deletes. Who does it is who does the operation ?6.
	recordSomeDeletions = `
INSERT INTO tag_history (tenant_id, repo_id, name, version, previous, verb, actor, at, op)
SELECT g.tenant_id, g.repo_id, g.name, g.version + 1, g.manifest, 'delete',
       coalesce((SELECT e.actor FROM events e WHERE e.tenant_id = ?1 AND e.op = ?6), ''), ?5, ?6
  FROM tags g WHERE g.tenant_id = ?1 AND g.repo_id = ?2 AND g.manifest = ?3 LIMIT ?4`
)

// moveTags moves those tags that point to another manifest, or were not there.
func (p *put) moveTags(tags []string) error {
	id := p.Repo.Tenant
	for _, tag := range tags {
		var old []byte
		if _, err := p.find(findTag, []any{id, p.repo, tag}, &old); err != nil {
			return err
		}
		if string(old) == string(p.own) {
			continue
		}
		if _, err := p.exec(moveTag, id, p.repo, tag, p.own, p.now); err != nil {
			return err
		}
		if _, err := p.exec(recordMove, id, p.repo, tag, old, string(p.TagVerb()), p.By.Actor, p.now, p.By.Op[:]); err != nil {
			return err
		}
		if _, err := p.exec(trimMoves, id, p.repo, tag, meta.MaxTagChanges); err != nil {
			return err
		}
	}
	return nil
}

// untagSome deletes tags of a manifest, at most limit, by the operation op.
func (t *tx) untagSome(id tenant.ID, repo int64, d oci.Digest, op uuid.UUID, limit int) (int64, error) {
	key := d.Bytes()
	if _, err := t.exec(recordSomeDeletions, id, repo, key, limit, t.now, op[:]); err != nil {
		return 0, err
	}
	return t.exec(deleteSomeTags, id, repo, key, limit)
}

// allTags is no limit of untagSome.
const allTags = math.MaxInt32

const trimTagHistory = `
DELETE FROM tag_history
 WHERE (tenant_id, repo_id, name, version) IN
       (SELECT h.tenant_id, h.repo_id, h.name, h.version FROM tag_history h INDEXED BY tag_history_by_time
         WHERE h.at < ?1 ORDER BY h.at LIMIT ?2)`

// TrimTagHistory implements meta.Collector, in steps.
func (s *Store) TrimTagHistory(ctx context.Context, limit int) (int, error) {
	trimmed := 0
	for more := true; more && trimmed < limit; {
		batch := min(trimBatch, limit-trimmed)
		var n int64
		err := s.step(ctx, deployment, func(t *tx) error {
			var err error
			n, err = t.exec(trimTagHistory, t.now-s.life.TagHistory.Microseconds(), batch)
			return err
		})
		if err != nil {
			return trimmed, err
		}
		trimmed += int(n)
		more = int(n) == batch
	}
	return trimmed, nil
}
