package sqlitemeta

import (
	"encoding/json"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
)

const (
	// What companion tags of a subject point to, and no other tag. As of referrers, what an
	// index names and what was pushed meanwhile stays.
	companionsOf = `
SELECT DISTINCT g.manifest
  FROM json_each(?3) j
 CROSS JOIN tags g ON g.tenant_id = ?1 AND g.repo_id = ?2 AND g.name = j.value AND g.manifest IS NOT NULL
 WHERE NOT EXISTS (SELECT 1 FROM tags o WHERE o.tenant_id = ?1 AND o.repo_id = ?2 AND o.manifest = g.manifest
                      AND o.name NOT IN (SELECT j.value FROM json_each(?3) j))
   AND NOT EXISTS (SELECT 1 FROM manifest_children c WHERE c.tenant_id = ?1 AND c.repo_id = ?2 AND c.child = g.manifest AND c.parent <> g.manifest)
   AND NOT EXISTS (SELECT 1 FROM kept_referrers k WHERE k.tenant_id = ?1 AND k.repo_id = ?2 AND k.op = ?4 AND k.digest = g.manifest)
 ORDER BY g.manifest`

	// It is the subject by which the undelete of the subject finds them.
	trashedCompanion = `
UPDATE trashed_manifests SET subject = ?5
 WHERE tenant_id = ?1 AND repo_id = ?2 AND op = ?3 AND digest = ?4 AND subject IS NULL`
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
	names, err := json.Marshal(tagrule.Companions(of))
	if err != nil {
		return false, err
	}
	var companions []oci.Digest
	err = t.list(companionsOf, []any{d.tenant, d.repo, string(names), d.op[:]}, func(scan scan) error {
		var one oci.Digest
		err := scan(digestScanner{&one})
		companions = append(companions, one)
		return err
	})
	if err != nil {
		return false, err
	}
	for _, one := range companions { // four at most; of a large one the janitor does the rest
		if _, err := t.deleteReferrer(d, one, life); err != nil {
			return false, err
		}
		if _, err := t.exec(trashedCompanion, d.tenant, d.repo, d.op[:], one.Bytes(), subject); err != nil {
			return false, err
		}
	}
	return len(companions) > 0, nil
}
