package sqlmeta

import (
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
)

// ActiveTagRules finds the tag rules for a registry, in the transaction that they decide
// about.
const ActiveTagRules = `
SELECT l.slug, l.body
  FROM registries g JOIN tag_rules l ON l.tenant_id = g.tenant_id AND (l.registry = '' OR l.registry = g.slug)
 WHERE g.tenant_id = $1 AND g.id = $2 AND NOT l.disabled
 ORDER BY l.slug`

// Those who read the rules share a lock of the tenant, taken by a statement of its own,
// until they commit. A change of rules waits for them, and those after it see the change.
const (
	ShareTagRulesPostgres  = `SELECT pg_advisory_xact_lock_shared(47, hashint8($1))`
	changeTagRulesPostgres = `SELECT pg_advisory_xact_lock(47, hashint8($1))`
)

// ReadTagRules reads the rows of ActiveTagRules.
func ReadTagRules(to *tagrule.Rules) func(Scan) error {
	return func(scan Scan) error {
		var r tagrule.Rule
		err := scan(&r.Slug, tagRuleScanner{&r})
		*to = append(*to, r)
		return err
	}
}

func activeTagRules(t Tx, id tenant.ID, registry tenant.RegistryID) (tagrule.Rules, error) {
	if share := t.Pick("", ShareTagRulesPostgres); share != "" {
		if err := t.Queue(share, id); err != nil {
			return nil, err
		}
	}
	var rules tagrule.Rules
	err := t.List(ActiveTagRules, []any{id, registry}, ReadTagRules(&rules))
	return rules, err
}

// guardBatch is how many rows are read together to find protected tags.
const guardBatch = 1000

const (
	tagsToDelete = `
SELECT name FROM tags WHERE tenant_id = $1 AND repo_id = $2 AND name > $3 AND manifest IS NOT NULL ORDER BY name LIMIT $4`

	repositoriesToDelete = `
SELECT id, name FROM repositories
 WHERE tenant_id = $1 AND registry_id = $2 AND state = 'active' AND name > $3 ORDER BY name LIMIT $4`
)

// deletedRepository is one that goes with its tags.
type deletedRepository struct {
	id   int64
	name string
}

// GuardRepository decides about the deletion of a repository that is locked. What it
// returns is for the event.
func GuardRepository(t Tx, by meta.Cause, r meta.Repo, repo int64) ([]meta.Change, error) {
	rules, err := activeTagRules(t, r.Tenant, r.Registry)
	if err != nil {
		return nil, err
	}
	g := meta.GuardTags(rules, tagrule.Delete, r.Name)
	if err := addTagsOf(t, g, r.Tenant, repo); err != nil {
		return nil, err
	}
	return g.Decide(by)
}

// guardRegistry decides about the deletion of a registry. It does not wait for pushes in
// flight, as checkEmpty does not.
func guardRegistry(t Tx, by meta.Cause, id tenant.ID, registry tenant.RegistryID) ([]meta.Change, error) {
	rules, err := activeTagRules(t, id, registry)
	if err != nil {
		return nil, err
	}
	g := meta.GuardTags(rules, tagrule.Delete, "")
	for after, more := "", len(rules) > 0; more; {
		var page []deletedRepository
		err := t.List(repositoriesToDelete, []any{id, registry, after, guardBatch}, func(scan Scan) error {
			var one deletedRepository
			err := scan(&one.id, &one.name)
			page = append(page, one)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, one := range page {
			g.In(rules, one.name)
			if err := addTagsOf(t, g, id, one.id); err != nil {
				return nil, err
			}
			after = one.name
		}
		more = len(page) == guardBatch
	}
	return g.Decide(by)
}

// addTagsOf adds all tags of a repository.
func addTagsOf(t Tx, g *meta.TagGuard, id tenant.ID, repo int64) error {
	for after, more := "", !g.Idle(); more; {
		n := 0
		err := t.List(tagsToDelete, []any{id, repo, after, guardBatch}, func(scan Scan) error {
			if err := scan(&after); err != nil {
				return err
			}
			n++
			g.Add(after)
			return nil
		})
		if err != nil {
			return err
		}
		more = n == guardBatch
	}
	return nil
}
