package pgmeta

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
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
	// A step continues without the client: the last one has to be followed by its end.
	steps, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	for ctx.Err() == nil && steps.Err() == nil && !s.quiet.Load() {
		if more, err := s.deleteReferrers(steps, d.tenant, d); err != nil || !more {
			return
		}
	}
}

// Quiesce lets work in steps end at its next step: the process is about to stop.
func (s *Store) Quiesce() { s.quiet.Store(true) }

const (
	beginDeletion = `
INSERT INTO referrer_deletions (tenant_id, repo_id, op, subject, after)
SELECT $1, $2, $3, gone.digest, ''
  FROM unnest($4::bytea[]) AS gone (digest)
 WHERE (SELECT EXISTS (SELECT 1 FROM manifests m WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.subject = gone.digest))
    OR gone.digest IN (
       SELECT named.subject
         FROM unnest($5::bytea[], $6::text[]) AS named (subject, tag)
        CROSS JOIN LATERAL (
               SELECT 1 FROM tags g
                WHERE g.tenant_id = $1 AND g.repo_id = $2 AND g.name = named.tag AND g.manifest IS NOT NULL OFFSET 0) AS there)
ON CONFLICT DO NOTHING`

	// What is pushed while a deletion is running stays, whether it is new or was
	// there before: its push is acknowledged, and the deletion does not come after it.
	// So does what a promotion that is acknowledged meanwhile requires.
	keepReferrers = `
INSERT INTO kept_referrers (tenant_id, repo_id, op, digest)
SELECT DISTINCT d.tenant_id, d.repo_id, d.op, kept.digest
  FROM referrer_deletions d CROSS JOIN unnest($3::bytea[]) AS kept (digest)
 WHERE d.tenant_id = $1 AND d.repo_id = $2
 ORDER BY d.op, kept.digest
ON CONFLICT DO NOTHING`

	unfinishedDeletion = `
SELECT d.tenant_id, d.repo_id, d.op
  FROM referrer_deletions d
 WHERE (SELECT r.state = 'active' FROM repositories r WHERE r.tenant_id = d.tenant_id AND r.id = d.repo_id)
 ORDER BY d.tenant_id, d.repo_id, d.op LIMIT 1`

	lockRepositoryByID = `SELECT id FROM repositories WHERE tenant_id = $1 AND id = $2 AND state = 'active' FOR KEY SHARE`

	// It waits for a step of another process.
	lockGoneSubject = `
SELECT subject, after FROM referrer_deletions WHERE tenant_id = $1 AND repo_id = $2 AND op = $3
 ORDER BY subject LIMIT 1 FOR NO KEY UPDATE`

	anyGoneSubject = `SELECT 1 FROM referrer_deletions WHERE tenant_id = $1 AND repo_id = $2 AND op = $3 LIMIT 1`

	// Referrers in the order of their digests, and whether one stays: what an index
	// names, and what was pushed meanwhile.
	nextReferrers = `
SELECT m.digest, m.size,
       (SELECT EXISTS (SELECT 1 FROM manifest_children c WHERE c.tenant_id = $1 AND c.repo_id = $2 AND c.child = m.digest AND c.parent <> m.digest))
    OR (SELECT EXISTS (SELECT 1 FROM kept_referrers k WHERE k.tenant_id = $1 AND k.repo_id = $2 AND k.op = $5 AND k.digest = m.digest))
  FROM manifests m
 WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.subject = $3 AND m.digest > $4
 ORDER BY m.digest LIMIT $6`

	// It comes after the manifests' locks and sees the transactions that these waited
	// for.
	keptOf = `
SELECT k.digest FROM unnest($4::bytea[]) AS doomed (digest)
  JOIN kept_referrers k ON k.tenant_id = $1 AND k.repo_id = $2 AND k.op = $3 AND k.digest = doomed.digest`

	advanceDeletion = `
UPDATE referrer_deletions SET after = $5 WHERE tenant_id = $1 AND repo_id = $2 AND op = $3 AND subject = $4`

	endDeletion = `DELETE FROM referrer_deletions WHERE tenant_id = $1 AND repo_id = $2 AND op = $3 AND subject = $4`

	// What is kept for a deletion that has ended.
	forgetKept = `
DELETE FROM kept_referrers k WHERE k.tenant_id = $1 AND k.repo_id = $2 AND k.op = $3
   AND (SELECT NOT EXISTS (SELECT 1 FROM referrer_deletions d WHERE d.tenant_id = $1 AND d.repo_id = $2 AND d.op = $3))`

	// A push that met the end of a deletion may have recorded itself after it.
	forgetStray = `
DELETE FROM kept_referrers k
 USING (SELECT o.tenant_id, o.repo_id, o.op, o.digest FROM kept_referrers o
         WHERE NOT EXISTS (SELECT 1 FROM referrer_deletions d WHERE d.tenant_id = o.tenant_id AND d.repo_id = o.repo_id AND d.op = o.op)
         LIMIT $1 FOR UPDATE SKIP LOCKED) AS stray
 WHERE k.tenant_id = stray.tenant_id AND k.repo_id = stray.repo_id AND k.op = stray.op AND k.digest = stray.digest`
)

// A step deletes this many referrers at most, and ends with the one by which
// their manifests reach stepBytes: a large one names thousands of blobs.
const (
	referrerBatch = 100
	stepBytes     = 1 << 20
)

// deleteReferrers does a step of a deletion, and reports whether there are more.
func (s *Store) deleteReferrers(ctx context.Context, owner tenant.ID, d deletion) (bool, error) {
	var active, found, ended bool
	err := s.write(ctx, owner, func(t *tx) error {
		var repo int64
		var subject, after []byte
		t.queue(lockRepositoryByID, d.tenant, d.repo).QueryRow(first(&active, &repo))
		t.queue(lockGoneSubject, d.tenant, d.repo, pgUUID(d.op)).QueryRow(first(&found, &subject, &after))
		if err := t.flush(); err != nil {
			return err
		}
		if !active || !found {
			return nil
		}
		var err error
		ended, err = t.deleteReferrersOf(d, subject, after, s.life)
		return err
	})
	if err != nil || !active {
		return false, err // with the repository it all goes
	}
	if found && !ended {
		return true, nil
	}
	var one int
	if found, err = s.find(ctx, owner, anyGoneSubject, []any{d.tenant, d.repo, pgUUID(d.op)}, &one); err != nil || found {
		return found, err // of another process's making
	}
	return false, s.write(ctx, owner, func(t *tx) error {
		t.queue(forgetKept, d.tenant, d.repo, pgUUID(d.op))
		return nil
	})
}

// beginDeletion queues that what refers to these goes with them.
func (t *tx) beginDeletion(d deletion, gone []oci.Digest) {
	var subjects []oci.Digest
	var names []string
	for _, one := range gone {
		for _, tag := range tagrule.Companions(one) {
			subjects, names = append(subjects, one), append(names, tag)
		}
	}
	t.queue(beginDeletion, d.tenant, d.repo, pgUUID(d.op), stored(gone), stored(subjects), names)
}

// deleteReferrersOf reports whether it reached the end of the subject's referrers.
func (t *tx) deleteReferrersOf(d deletion, subject, after []byte, life meta.Lifetimes) (bool, error) {
	if len(after) == 0 {
		if found, err := t.deleteCompanions(d, subject, life); err != nil || found {
			return false, err
		}
		after = afterCompanions
	}
	var digests []oci.Digest
	seen, size := 0, int64(0)
	t.queue(nextReferrers, d.tenant, d.repo, subject, after, pgUUID(d.op), referrerBatch).Query(each(func(scan scan) error {
		var one oci.Digest
		var bytes int64
		var stays bool
		if err := scan(digestScanner{&one}, &bytes, &stays); err != nil || size >= stepBytes {
			return err
		}
		seen, after = seen+1, one.Bytes()
		if !stays {
			digests, size = append(digests, one), size+bytes
		}
		return nil
	}))
	if err := t.flush(); err != nil {
		return false, err
	}
	if seen == 0 {
		t.queue(endDeletion, d.tenant, d.repo, pgUUID(d.op), subject)
		return true, nil
	}
	if len(digests) > 0 {
		locked, err := t.lockToDelete(d.tenant, d.repo, digests)
		if err != nil {
			return false, err
		}
		var kept []oci.Digest
		t.queue(keptOf, d.tenant, d.repo, pgUUID(d.op), stored(digests)).Query(each(readDigests(&kept)))
		if err := t.flush(); err != nil {
			return false, err
		}
		if len(kept)+len(locked.parents) > 0 {
			return false, sqlmeta.ErrRestart // one that was pushed, or named by an index, since it was found
		}
		t.queueDelete(d.tenant, d.repo, locked, d.op, life)
		t.beginDeletion(d, digests)
	}
	t.queue(advanceDeletion, d.tenant, d.repo, pgUUID(d.op), subject, after)
	return false, nil
}

// continueDeletion does a step of a deletion whose request has ended, and returns
// how many.
func (s *Store) continueDeletion(ctx context.Context) (int, error) {
	var d deletion
	found, err := s.find(ctx, noTenant, unfinishedDeletion, nil, &d.tenant, &d.repo, uuidScanner{&d.op})
	if err != nil {
		return 0, err
	}
	if !found {
		return s.forgetStray(ctx)
	}
	more, err := s.deleteReferrers(ctx, noTenant, d)
	if err != nil || more {
		return 1, err
	}
	s.hide(ctx, d.tenant, d.repo)
	return 1, nil
}

func (s *Store) forgetStray(ctx context.Context) (int, error) {
	var n int64
	err := s.write(ctx, noTenant, func(t *tx) error {
		var err error
		n, err = t.exec(forgetStray, referrerBatch)
		return err
	})
	return int(n), err
}
