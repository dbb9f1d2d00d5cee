package sqlitemeta

import (
	"github.com/berth-registry/berth/pkg/oci"
)

const (
	dueTrash = `
SELECT tenant_id, repo_id, digest FROM trashed_manifests WHERE restore_until <= ?1 ORDER BY restore_until LIMIT 1`

	someTrashed = `
SELECT digest FROM trashed_blobs WHERE tenant_id = ?1 AND repo_id = ?2 AND manifest = ?3 LIMIT ?4`

	// Phase B decides what else names them.
	releaseTrashed = `
UPDATE repo_blobs SET keep_until = max(coalesce(keep_until, 0), ?4)
 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest IN (SELECT unhex(j.value) FROM json_each(?3) j)`

	unlinkTrashed = `
DELETE FROM trashed_blobs
 WHERE tenant_id = ?1 AND repo_id = ?2 AND manifest = ?3 AND digest IN (SELECT unhex(j.value) FROM json_each(?4) j)`

	endTrash = `DELETE FROM trashed_manifests WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3`

	purgeTrashedBlobs = `
DELETE FROM trashed_blobs WHERE (tenant_id, repo_id, manifest, digest) IN
       (SELECT m.tenant_id, m.repo_id, m.manifest, m.digest FROM trashed_blobs m WHERE m.tenant_id = ?1 AND m.repo_id = ?2 LIMIT ?3)`

	purgeTrash = `
DELETE FROM trashed_manifests WHERE (tenant_id, repo_id, digest) IN
       (SELECT m.tenant_id, m.repo_id, m.digest FROM trashed_manifests m WHERE m.tenant_id = ?1 AND m.repo_id = ?2 LIMIT ?3)`
)

// trash ends what can no longer be restored, as far as the call's time goes.
func (p purge) trash() (int, error) {
	done := 0
	for done < p.limit {
		due, err := p.tx.links(dueTrash, p.now)
		if err != nil || len(due) == 0 {
			return done, err
		}
		if err := p.endTrash(due[0]); err != nil {
			return done, err
		}
		done++
		if p.spent() {
			break
		}
	}
	return done, nil
}

// endTrash removes a batch of what one holds, or, without any, its row.
func (p purge) endTrash(l link) error {
	key := l.digest.Bytes()
	var some []oci.Digest
	err := p.list(someTrashed, []any{l.tenant, l.repo, key, removeBatch}, func(scan scan) error {
		var d oci.Digest
		err := scan(digestScanner{&d})
		some = append(some, d)
		return err
	})
	if err != nil {
		return err
	}
	if len(some) == 0 {
		_, err := p.exec(endTrash, l.tenant, l.repo, key)
		return err
	}
	if _, err := p.exec(releaseTrashed, l.tenant, l.repo, inJSON(some), p.now); err != nil {
		return err
	}
	_, err = p.exec(unlinkTrashed, l.tenant, l.repo, key, inJSON(some))
	return err
}
