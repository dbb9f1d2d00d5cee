package pgmeta

import (
	"maps"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
)

const (
	// What companion tags of a subject point to, and no other tag. As of referrers, what an
	// index names and what was pushed meanwhile stays.
	companionsOf = `
SELECT g.name, g.manifest
  FROM unnest($3::text[]) AS companion (name)
 CROSS JOIN LATERAL (
        SELECT g.name, g.manifest FROM tags g
         WHERE g.tenant_id = $1 AND g.repo_id = $2 AND g.name = companion.name AND g.manifest IS NOT NULL OFFSET 0) AS g
 WHERE (SELECT NOT EXISTS (SELECT 1 FROM tags o WHERE o.tenant_id = $1 AND o.repo_id = $2 AND o.manifest = g.manifest AND o.name <> ALL ($3::text[])))
   AND (SELECT NOT EXISTS (SELECT 1 FROM manifest_children c WHERE c.tenant_id = $1 AND c.repo_id = $2 AND c.child = g.manifest AND c.parent <> g.manifest))
   AND (SELECT NOT EXISTS (SELECT 1 FROM kept_referrers k WHERE k.tenant_id = $1 AND k.repo_id = $2 AND k.op = $4 AND k.digest = g.manifest))`

	// It is the subject by which the undelete of the subject finds them.
	trashedCompanions = `
UPDATE trashed_manifests SET subject = $5
 WHERE tenant_id = $1 AND repo_id = $2 AND op = $3 AND digest = ANY ($4::bytea[]) AND subject IS NULL`
)

// afterCompanions is where the referrers of a subject begin: its companions are gone.
var afterCompanions = []byte{0} // less than every stored digest

// deleteCompanions deletes what only companion tags of a subject point to, and reports
// whether there was some: an index among them may have named others, which come next.
func (t *tx) deleteCompanions(d deletion, subject []byte, life meta.Lifetimes) (bool, error) {
	of, err := oci.DigestFromBytes(subject)
	if err != nil {
		return false, err
	}
	found, doomed := map[string]bool{}, map[oci.Digest]bool{}
	t.queue(companionsOf, d.tenant, d.repo, tagrule.Companions(of), pgUUID(d.op)).Query(each(func(scan scan) error {
		var name string
		var manifest oci.Digest
		err := scan(&name, digestScanner{&manifest})
		found[name], doomed[manifest] = true, true
		return err
	}))
	if err := t.flush(); err != nil || len(found) == 0 {
		return false, err
	}
	digests := slices.Collect(maps.Keys(doomed))
	locked, err := t.lockToDelete(d.tenant, d.repo, digests)
	if err != nil {
		return false, err
	}
	var kept []oci.Digest
	t.queue(keptOf, d.tenant, d.repo, pgUUID(d.op), stored(digests)).Query(each(readDigests(&kept)))
	if err := t.flush(); err != nil {
		return false, err
	}
	other := func(tag string) bool { return !found[tag] }
	if len(kept)+len(locked.parents) > 0 || len(locked.tags) != len(found) || slices.ContainsFunc(locked.tags, other) {
		return false, sqlmeta.ErrRestart // pushed, named by an index or tagged since they were found
	}
	t.queueDelete(d.tenant, d.repo, locked, d.op, life)
	t.queue(trashedCompanions, d.tenant, d.repo, pgUUID(d.op), stored(digests), subject)
	t.beginDeletion(d, digests)
	return true, nil
}
