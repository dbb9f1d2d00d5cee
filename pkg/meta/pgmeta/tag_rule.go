package pgmeta

import (
	"bytes"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
)

// queueTagRules reads the rules for a registry, which stay until COMMIT.
func (t *tx) queueTagRules(r meta.Repo, to *tagrule.Rules) {
	*to = nil
	t.queue(sqlmeta.ShareTagRulesPostgres, r.Tenant)
	t.queue(sqlmeta.ActiveTagRules, r.Tenant, r.Registry).Query(each(sqlmeta.ReadTagRules(to)))
}

// refuseOverwrite refuses to move tags that are protected, unless the cause overrides
// rules. Their rows are locked.
func (p *putting) refuseOverwrite() error {
	g := meta.GuardTags(p.rules, tagrule.Overwrite, p.Repo.Name)
	for _, tag := range p.tags {
		if old := p.old[tag]; old != nil && !bytes.Equal(old, p.own) {
			g.Add(tag)
		}
	}
	var err error
	p.overridden, err = g.Decide(p.By)
	return err
}

// The manifest itself, if it exists, and the indexes that name it, directly or through
// others.
const above = `
WITH RECURSIVE above (digest) AS (
  SELECT m.digest FROM manifests m WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = $3
  UNION
  SELECT c.parent
    FROM above
   CROSS JOIN LATERAL (
          SELECT c.parent FROM manifest_children c
           WHERE c.tenant_id = $1 AND c.repo_id = $2 AND c.child = above.digest OFFSET 0) AS c
)`

const (
	manifestsAbove = above + `
SELECT above.digest FROM above`

	tagsAbove = above + `
SELECT pointing.name
  FROM above
 CROSS JOIN LATERAL (
        SELECT g.name FROM tags g
         WHERE g.tenant_id = $1 AND g.repo_id = $2 AND g.manifest = above.digest OFFSET 0) AS pointing`
)

// manifestsAbove are those to lock with a manifest whose deletion is forced: while they
// are locked, no tag begins to lead to it. None, if no rule is for the repository.
func (t *tx) manifestsAbove(g *meta.TagGuard, del meta.ManifestDelete, repo int64) ([]oci.Digest, error) {
	if g.Idle() || !del.Force {
		return nil, nil
	}
	var found []oci.Digest
	t.queue(manifestsAbove, del.Repo.Tenant, repo, del.Digest.Bytes()).Query(each(readDigests(&found)))
	return found, t.flush()
}

// guardDeletion decides about the tags that lead to the manifest, after its lock and
// those of locked, the manifests above it. What it returns is for the event.
func (t *tx) guardDeletion(g *meta.TagGuard, del meta.ManifestDelete, repo int64, locked []oci.Digest) ([]meta.Change, error) {
	if g.Idle() {
		return nil, nil
	}
	present, err := t.manifestsAbove(g, del, repo)
	if err != nil {
		return nil, err
	}
	for _, d := range present {
		if !slices.Contains(locked, d) {
			return nil, sqlmeta.ErrRestart // an index that was pushed since
		}
	}
	t.queueTagsAbove(g, del.Repo.Tenant, repo, del.Digest)
	if err := t.flush(); err != nil {
		return nil, err
	}
	return g.Decide(del.By)
}

func (t *tx) queueTagsAbove(g *meta.TagGuard, id tenant.ID, repo int64, d oci.Digest) {
	t.queue(tagsAbove, id, repo, d.Bytes()).Query(each(func(scan scan) error {
		name, err := scanName(scan)
		g.Add(name)
		return err
	}))
}
