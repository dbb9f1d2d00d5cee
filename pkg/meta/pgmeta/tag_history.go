package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
)

// A tag that changed since it was locked gets a NULL version, which its column
// refuses. Changes beyond meta.MaxTagChanges ($8) go.
const moveTag = `
WITH moved AS (
  UPDATE tags SET manifest = $4, version = CASE WHEN manifest IS NOT DISTINCT FROM $5 THEN version + 1 END
   WHERE tenant_id = $1 AND repo_id = $2 AND name = $3
  RETURNING tenant_id, repo_id, name, version
), trimmed AS (
  DELETE FROM tag_history h
   WHERE h.tenant_id = $1 AND h.repo_id = $2 AND h.name = $3 AND h.version <= (SELECT m.version FROM moved m) - $8
)
INSERT INTO tag_history (tenant_id, repo_id, name, version, manifest, previous, verb, actor, at, op)
SELECT m.tenant_id, m.repo_id, m.name, m.version, $4, $5, $6, $7, berth_now(), $9 FROM moved m`

const deleteTag = `
WITH gone AS (
  DELETE FROM tags g
   USING open_repositories r
   WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
     AND g.tenant_id = r.tenant_id AND g.repo_id = r.id AND g.name = $4 AND g.manifest IS NOT NULL
  RETURNING g.tenant_id, g.repo_id, g.name, g.version, g.manifest
), recorded AS (
  INSERT INTO tag_history (tenant_id, repo_id, name, version, previous, verb, actor, at, op)
  SELECT g.tenant_id, g.repo_id, g.name, g.version + 1, g.manifest, 'delete', $5, berth_now(), $6 FROM gone g
)
SELECT gone.manifest FROM gone`

// Who deletes them is who does the operation $4.
const deleteTags = `
WITH gone AS (
  DELETE FROM tags WHERE tenant_id = $1 AND repo_id = $2 AND name = ANY ($3::text[])
  RETURNING tenant_id, repo_id, name, version, manifest
)
INSERT INTO tag_history (tenant_id, repo_id, name, version, previous, verb, actor, at, op)
SELECT g.tenant_id, g.repo_id, g.name, g.version + 1, g.manifest, 'delete',
       coalesce((SELECT e.actor FROM events e WHERE e.tenant_id = $1 AND e.op = $4), ''), berth_now(), $4
  FROM gone g`

// moveTags queues the moves of tags that point to other manifests, or were not there.
func (p *putting) moveTags() {
	p.onViolation("tags.version", sqlmeta.ErrRestart)
	// The insert of a tag waited for its deletion, and read the history before.
	p.onViolation("tag_history_by_version", sqlmeta.ErrRestart)
	for _, tag := range p.tags {
		if old := p.old[tag]; string(old) != string(p.own) {
			p.queue(moveTag, p.Repo.Tenant, p.repo.id, tag, p.own, old, p.TagVerb(), p.By.Actor, meta.MaxTagChanges, pgUUID(p.By.Op))
		}
	}
}

const trimTagHistory = `
WITH old AS (
  SELECT h.tenant_id, h.repo_id, h.name, h.version FROM tag_history h
   WHERE h.at < berth_now() - $1::interval ORDER BY h.at LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM tag_history h USING old
 WHERE h.tenant_id = old.tenant_id AND h.repo_id = old.repo_id AND h.name = old.name AND h.version = old.version`

// TrimTagHistory implements meta.Collector.
func (s *Store) TrimTagHistory(ctx context.Context, limit int) (int, error) {
	var n int64
	err := s.write(ctx, noTenant, func(t *tx) error {
		var err error
		n, err = t.exec(trimTagHistory, s.life.TagHistory, limit)
		return err
	})
	return int(n), err
}
