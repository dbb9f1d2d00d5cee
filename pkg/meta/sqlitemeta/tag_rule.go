package sqlitemeta

import (
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
)

// tagGuard reads the rules that decide about a repository's tags.
func (t *tx) tagGuard(r meta.Repo, o tagrule.Op) (*meta.TagGuard, error) {
	var rules tagrule.Rules
	err := t.list(sqlmeta.ActiveTagRules, []any{r.Tenant, r.Registry}, sqlmeta.ReadTagRules(&rules))
	return meta.GuardTags(rules, o, r.Name), err
}

// refuseOverwrite refuses to move tags that are protected, unless the cause of the event
// by overrides rules.
func (t *tx) refuseOverwrite(by meta.Cause, p meta.ManifestPut, repo int64) error {
	if len(p.Tags) == 0 {
		return nil
	}
	g, err := t.tagGuard(p.Repo, tagrule.Overwrite)
	if err != nil || g.Idle() && p.Replaces == nil {
		return err
	}
	for _, tag := range p.Tags {
		var old oci.Digest
		if _, err := t.find(findTag, []any{p.Repo.Tenant, repo, tag}, digestScanner{&old}); err != nil {
			return err
		}
		if err := p.CheckReplaced(tag, old); err != nil {
			return err
		}
		if old != "" && old != p.Manifest.Digest {
			g.Add(tag)
		}
	}
	return t.decide(g, by, p.Repo.Tenant)
}

// The tags of a manifest that exists, and of the indexes that name it, directly or
// through others.
const tagsAbove = `
WITH RECURSIVE above (digest) AS (
  SELECT m.digest FROM manifests m WHERE m.tenant_id = ?1 AND m.repo_id = ?2 AND m.digest = ?3
  UNION
  SELECT c.parent FROM above CROSS JOIN manifest_children c ON c.tenant_id = ?1 AND c.repo_id = ?2 AND c.child = above.digest
)
SELECT g.name FROM above CROSS JOIN tags g ON g.tenant_id = ?1 AND g.repo_id = ?2 AND g.manifest = above.digest`

// guardDeletion decides about the tags that lead to the manifest, after the event by.
func (t *tx) guardDeletion(by meta.Cause, del meta.ManifestDelete, repo int64) error {
	g, err := t.guardAbove(del, repo)
	if err != nil {
		return err
	}
	return t.decide(g, by, del.Repo.Tenant)
}

// guardAbove has the tags that lead to the manifest.
func (t *tx) guardAbove(del meta.ManifestDelete, repo int64) (*meta.TagGuard, error) {
	g, err := t.tagGuard(del.Repo, tagrule.Delete)
	if err != nil || g.Idle() {
		return g, err
	}
	return g, t.list(tagsAbove, []any{del.Repo.Tenant, repo, del.Digest.Bytes()}, func(scan scan) error {
		name, err := scanName(scan)
		g.Add(name)
		return err
	})
}

// guardTag decides about the deletion of one tag, after the event by.
func (t *tx) guardTag(by meta.Cause, r meta.Repo, tag string) error {
	g, err := t.tagGuard(r, tagrule.Delete)
	if err != nil {
		return err
	}
	g.Add(tag)
	return t.decide(g, by, r.Tenant)
}

// decide is the refusal of a guard, or what it overrides, added to the event by.
func (t *tx) decide(g *meta.TagGuard, by meta.Cause, id tenant.ID) error {
	overridden, err := g.Decide(by)
	if err != nil || len(overridden) == 0 {
		return err
	}
	_, err = t.exec(sqlmeta.SetEventChanges, id, by.Op[:], meta.EncodeChanges(slices.Concat(overridden, by.Changes)))
	return err
}
