package sqlitemeta

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
)

// deletion is the deletion of the referrers of a manifest that was deleted, and of
// theirs. It takes many transactions: rows of referrer_deletions say what is left,
// one for each subject that is gone.
type deletion struct {
	tenant tenant.ID
	repo   int64
	op     uuid.UUID // of the request
}

// finishTime is how long a request waits for the steps of its deletion. The
// janitor does those that are left.
const finishTime = 30 * time.Second

// finishDeletion does steps while the request is there and the process does not
// stop. The deletion was acknowledged to the database: what fails here is done
// by the janitor.
func (s *Store) finishDeletion(ctx context.Context, d deletion) {
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	for !s.stopping() {
		done := true
		err := s.step(ctx, d.tenant, func(t *tx) error {
			var err error
			done, err = t.deleteReferrers(d, s.life)
			return err
		})
		if err != nil || done {
			return
		}
	}
}

const (
	beginDeletion = `
INSERT INTO referrer_deletions (tenant_id, repo_id, op, subject, after)
SELECT ?1, ?2, ?3, ?4, x''
 WHERE EXISTS (SELECT 1 FROM manifests m WHERE m.tenant_id = ?1 AND m.repo_id = ?2 AND m.subject = ?4)
    OR EXISTS (SELECT 1 FROM json_each(?5) j CROSS JOIN tags g ON g.tenant_id = ?1 AND g.repo_id = ?2 AND g.name = j.value AND g.manifest IS NOT NULL)
ON CONFLICT DO NOTHING`

	// What is pushed while a deletion is running stays, whether it is new or was
	// there before: its push is acknowledged, and the deletion does not come after it.
	// So does what a promotion that is acknowledged meanwhile requires.
	keepReferrers = `
INSERT INTO kept_referrers (tenant_id, repo_id, op, digest)
SELECT DISTINCT d.tenant_id, d.repo_id, d.op, unhex(j.value)
  FROM referrer_deletions d CROSS JOIN json_each(?3) j
 WHERE d.tenant_id = ?1 AND d.repo_id = ?2
ON CONFLICT DO NOTHING`

	unfinishedDeletion = `
SELECT d.tenant_id, d.repo_id, d.op
  FROM referrer_deletions d CROSS JOIN repositories r ON r.id = d.repo_id AND r.tenant_id = d.tenant_id AND r.state = 'active'
 ORDER BY d.tenant_id, d.repo_id, d.op LIMIT 1`

	goneSubject = `
SELECT subject, after FROM referrer_deletions WHERE tenant_id = ?1 AND repo_id = ?2 AND op = ?3 ORDER BY subject LIMIT 1`

	// Referrers in the order of their digests, and whether one stays: what an index
	// names, and what was pushed meanwhile.
	nextReferrers = `
SELECT m.digest,
       EXISTS (SELECT 1 FROM manifest_children c WHERE c.tenant_id = ?1 AND c.repo_id = ?2 AND c.child = m.digest AND c.parent <> m.digest)
    OR EXISTS (SELECT 1 FROM kept_referrers k WHERE k.tenant_id = ?1 AND k.repo_id = ?2 AND k.op = ?5 AND k.digest = m.digest)
  FROM manifests m INDEXED BY manifests_referrers
 WHERE m.tenant_id = ?1 AND m.repo_id = ?2 AND m.subject = ?3 AND m.digest > coalesce(?4, x'')
 ORDER BY m.digest LIMIT ?6`

	advanceDeletion = `
UPDATE referrer_deletions SET after = ?5 WHERE tenant_id = ?1 AND repo_id = ?2 AND op = ?3 AND subject = ?4`

	endDeletion = `DELETE FROM referrer_deletions WHERE tenant_id = ?1 AND repo_id = ?2 AND op = ?3 AND subject = ?4`

	// As many as were pushed while the deletion was running.
	forgetKept = `DELETE FROM kept_referrers WHERE tenant_id = ?1 AND repo_id = ?2 AND op = ?3`
)

// referrerBatch is how many referrers are read together.
const referrerBatch = 50

// referrer is a referrer that a deletion visits.
type referrer struct {
	digest oci.Digest
	stays  bool
}

// deleteReferrers is a step of a deletion, and reports whether it was the last.
func (t *tx) deleteReferrers(d deletion, life meta.Lifetimes) (bool, error) {
	for first := true; ; first = false {
		var subject, after []byte
		found, err := t.find(goneSubject, []any{d.tenant, d.repo, d.op[:]}, &subject, &after)
		if err != nil {
			return false, err
		}
		if !found {
			_, err := t.exec(hideRepository, d.tenant, d.repo)
			return true, err
		}
		if !first && t.spent() {
			return false, nil
		}
		if err := t.deleteReferrersOf(d, subject, after, life); err != nil {
			return false, err
		}
	}
}

// beginDeletion writes down that what refers to the manifest goes with it.
func (t *tx) beginDeletion(d deletion, gone oci.Digest) error {
	names, err := json.Marshal(tagrule.Companions(gone))
	if err != nil {
		return err
	}
	_, err = t.exec(beginDeletion, d.tenant, d.repo, d.op[:], gone.Bytes(), string(names))
	return err
}

func (t *tx) deleteReferrersOf(d deletion, subject, after []byte, life meta.Lifetimes) error {
	if len(after) == 0 {
		if found, err := t.deleteCompanions(d, subject, life); err != nil || found {
			return err
		}
		after = afterCompanions
	}
	var next []referrer
	err := t.list(nextReferrers, []any{d.tenant, d.repo, subject, after, d.op[:], referrerBatch}, func(scan scan) error {
		var r referrer
		err := scan(digestScanner{&r.digest}, &r.stays)
		next = append(next, r)
		return err
	})
	if err != nil {
		return err
	}
	if len(next) == 0 {
		return t.endDeletion(d, subject)
	}
	seen := 0
	for _, r := range next {
		if !r.stays {
			gone, err := t.deleteReferrer(d, r.digest, life)
			if err != nil {
				return err
			}
			if !gone {
				break // it comes next
			}
		}
		seen++
		if after = r.digest.Bytes(); t.spent() {
			break
		}
	}
	if seen == 0 {
		return nil
	}
	_, err = t.exec(advanceDeletion, d.tenant, d.repo, d.op[:], subject, after)
	return err
}

// deleteReferrer deletes one referrer; false where it is large, and some is left.
func (t *tx) deleteReferrer(d deletion, referrer oci.Digest, life meta.Lifetimes) (bool, error) {
	if err := t.beginDeletion(d, referrer); err != nil {
		return false, err
	}
	r := removal{tenant: d.tenant, repo: d.repo, digest: referrer, op: d.op}
	if err := t.trashManifest(r, life); err != nil {
		return false, err
	}
	if large, err := t.beginRemoval(r); err != nil {
		return false, err
	} else if large {
		return t.removeSome(r, life)
	}
	_, err := t.deleteManifest(r, life)
	return true, err
}

// endDeletion forgets a subject whose referrers were all looked at, and with the
// last one what was kept.
func (t *tx) endDeletion(d deletion, subject []byte) error {
	if _, err := t.exec(endDeletion, d.tenant, d.repo, d.op[:], subject); err != nil {
		return err
	}
	found, err := t.find(goneSubject, []any{d.tenant, d.repo, d.op[:]}, new([]byte), new([]byte))
	if err != nil || found {
		return err
	}
	_, err = t.exec(forgetKept, d.tenant, d.repo, d.op[:])
	return err
}
