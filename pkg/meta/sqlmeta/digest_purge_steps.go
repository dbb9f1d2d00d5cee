package sqlmeta

import (
	"context"
	"encoding/hex"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// How many rows a step of a purge takes.
const (
	purgeBatch      = 100
	purgeTrashBatch = 20 // of what a manifest in the trash holds: each takes a few statements
)

// Each has to be run with the rows locked that it reads from.
const (
	// RememberPurged remembers what a manifest names, until its links have ended.
	RememberPurged = `
INSERT INTO purged_digests (tenant_id, purge, repo_id, digest, manifest)
SELECT b.tenant_id, $4, b.repo_id, b.digest, FALSE FROM manifest_blobs b WHERE b.tenant_id = $1 AND b.repo_id = $2 AND b.manifest = $3
ON CONFLICT DO NOTHING`

	// RememberManifest remembers the manifest.
	RememberManifest = `
INSERT INTO purged_digests (tenant_id, purge, repo_id, digest, manifest) VALUES ($1, $4, $2, $3, TRUE) ON CONFLICT DO NOTHING`
)

// found is a manifest that a purge found.
type found struct {
	repo                 int64
	digest               oci.Digest
	registry, repository string
}

func scanNaming(scan Scan) (found, error) {
	var m found
	err := scan(&m.repo, digestScanner{&m.digest}, &m.registry, &m.repository)
	return m, err
}

// manifests deletes those that are the digest or name it, an index before what it names.
func (p *purging) manifests(ctx context.Context) (int, error) {
	next, err := list(ctx, p.Records, p.tenant, scanNaming, nextNaming, p.tenant, p.digest.Bytes(), purgeBatch)
	for _, m := range next {
		if p.Stopping() {
			return 0, errLater
		}
		by := p.by
		by.Op = uuid.New()
		name := meta.NamingManifest{Registry: m.registry, Repository: m.repository, Digest: m.digest}.Name()
		runs, err := p.Delete(ctx, PurgedManifest{Tenant: p.tenant, Repo: m.repo, Digest: m.digest, Purge: p.digest, Op: p.op, By: by, Target: name})
		if err == nil && !runs {
			err = errEnded
		}
		if err != nil {
			return 0, err
		}
	}
	return len(next), err
}

// childPattern finds a digest among the children of trashed manifests.
func childPattern(d oci.Digest) string { return `%"` + hex.EncodeToString(d.Bytes()) + `"%` }

const (
	findTrashRow = `
SELECT digest FROM trashed_manifests WHERE tenant_id = $1 AND repo_id = $2 AND digest = $3`
	lockTrashRow = findTrashRow + ` FOR UPDATE`

	// No undelete restores what is being ended.
	giveUpTrash = `
UPDATE trashed_manifests SET restore_until = berth_now() WHERE tenant_id = $1 AND repo_id = $2 AND digest = $3 AND restore_until > berth_now()`

	someTrashedBlobs = `
SELECT digest FROM trashed_blobs WHERE tenant_id = $1 AND repo_id = $2 AND manifest = $3 ORDER BY digest LIMIT $4`

	findLink = `SELECT digest FROM repo_blobs WHERE tenant_id = $1 AND repo_id = $2 AND digest = $3`
	lockLink = findLink + ` FOR NO KEY UPDATE`

	rememberTrashedBlob = `
INSERT INTO purged_digests (tenant_id, purge, repo_id, digest, manifest) VALUES ($1, $4, $2, $3, FALSE) ON CONFLICT DO NOTHING`

	unlinkTrashedBlob = `DELETE FROM trashed_blobs WHERE tenant_id = $1 AND repo_id = $2 AND manifest = $3 AND digest = $4`

	releaseTrashedLink = `
UPDATE repo_blobs SET keep_until = CASE WHEN keep_until > berth_now() THEN keep_until ELSE berth_now() END
 WHERE tenant_id = $1 AND repo_id = $2 AND digest = $3`

	endTrashRow = `DELETE FROM trashed_manifests WHERE tenant_id = $1 AND repo_id = $2 AND digest = $3`
)

// trash ends one manifest of the trash, or a part of it.
func (p *purging) trash(ctx context.Context) (int, error) {
	next, err := list(ctx, p.Records, p.tenant, scanTrashNaming, trashNaming, p.tenant, p.digest.Bytes(), childPattern(p.digest), 1)
	if err != nil || len(next) == 0 {
		return 0, err
	}
	return 1, p.endTrash(ctx, next[0])
}

func scanTrashNaming(scan Scan) (found, error) {
	var m found
	err := scan(&m.repo, digestScanner{&m.digest})
	return m, err
}

// endTrash takes a batch of what a manifest in the trash holds, or, without any, its row.
func (p *purging) endTrash(ctx context.Context, m found) error {
	row := []any{p.tenant, m.repo, m.digest.Bytes()}
	some, err := list(ctx, p.Records, p.tenant, ScanDigest, someTrashedBlobs, append(row, purgeTrashBatch)...)
	if err != nil {
		return err
	}
	return p.write(ctx, func(t Tx) error {
		var d oci.Digest
		for _, held := range some { // an undelete locks links before the trash
			if _, err := t.Find(t.Pick(findLink, lockLink), []any{p.tenant, m.repo, held.Bytes()}, digestScanner{&d}); err != nil {
				return err
			}
		}
		there, err := t.Find(t.Pick(findTrashRow, lockTrashRow), row, digestScanner{&d})
		if err != nil || !there {
			return err
		}
		if err := t.Queue(giveUpTrash, row...); err != nil {
			return err
		}
		if err := t.Queue(RememberManifest, append(row, p.digest.Bytes())...); err != nil {
			return err
		}
		for _, held := range some {
			link := []any{p.tenant, m.repo, held.Bytes()}
			if err := t.Queue(rememberTrashedBlob, append(link, p.digest.Bytes())...); err != nil {
				return err
			}
			if err := t.Queue(unlinkTrashedBlob, append(row, held.Bytes())...); err != nil {
				return err
			}
			if err := t.Queue(releaseTrashedLink, link...); err != nil {
				return err
			}
		}
		if len(some) < purgeTrashBatch {
			return t.Queue(endTrashRow, row...)
		}
		return nil
	})
}

// discard reads a row that was only to be locked.
func discard(Scan) error { return nil }

const (
	historyNaming = `
SELECT h.repo_id, h.manifest
  FROM repositories r CROSS JOIN tag_history h
 WHERE r.tenant_id = $1 AND h.tenant_id = r.tenant_id AND h.repo_id = r.id AND h.manifest = $2
UNION
SELECT h.repo_id, h.previous
  FROM repositories r CROSS JOIN tag_history h
 WHERE r.tenant_id = $1 AND h.tenant_id = r.tenant_id AND h.repo_id = r.id AND h.previous = $2
 LIMIT 1`

	// Two purges may find the same changes, each by another manifest.
	findForgotten = `
SELECT version FROM tag_history WHERE tenant_id = $1 AND repo_id = $2 AND (manifest = $3 OR previous = $3)`
	lockForgotten = findForgotten + ` ORDER BY name, version FOR UPDATE`

	forgetMoves    = `DELETE FROM tag_history WHERE tenant_id = $1 AND repo_id = $2 AND manifest = $3`
	forgetPrevious = `UPDATE tag_history SET previous = NULL WHERE tenant_id = $1 AND repo_id = $2 AND previous = $3`
)

// history forgets which tags pointed to the digest, in one repository.
func (p *purging) history(ctx context.Context) (int, error) {
	next, err := list(ctx, p.Records, p.tenant, scanTrashNaming, historyNaming, p.tenant, p.digest.Bytes())
	if err != nil || len(next) == 0 {
		return 0, err
	}
	return 1, p.forget(ctx, next[0])
}

// forget takes a manifest out of the history of a repository. The versions of its tags have
// a gap from then on.
func (p *purging) forget(ctx context.Context, m found) error {
	return p.write(ctx, func(t Tx) error {
		err := t.List(t.Pick(findForgotten, lockForgotten), []any{p.tenant, m.repo, m.digest.Bytes()}, discard)
		if err != nil {
			return err
		}
		if err := t.Queue(forgetMoves, p.tenant, m.repo, m.digest.Bytes()); err != nil {
			return err
		}
		return t.Queue(forgetPrevious, p.tenant, m.repo, m.digest.Bytes())
	})
}

const (
	sealedAs     = `SELECT id, incarnation, tail FROM uploads WHERE tenant_id = $1 AND state = 'sealed' AND digest = $2 ORDER BY id LIMIT $3`
	lockSealedAs = sealedAs + ` FOR UPDATE`

	expireSealed = `
UPDATE uploads SET state = 'expired', epoch = epoch + 1, expires_at = berth_now() + CAST($3 AS interval) WHERE tenant_id = $1 AND id = $2`

	condemnSealed = `
UPDATE objects SET state = 'D', delete_after = berth_now() + CAST($3 AS interval), digest = $4, purge = $4
 WHERE tenant_id = $1 AND incarnation = $2 AND state = 'S'`
)

// session is an upload that was sealed as the digest.
type session struct {
	id, object uuid.UUID
	tail       uuid.NullUUID
}

// sessions ends uploads that are about to become the blob.
func (p *purging) sessions(ctx context.Context) (int, error) {
	done := 0
	err := p.write(ctx, func(t Tx) error {
		var sealed []session
		err := t.List(t.Pick(sealedAs, lockSealedAs), []any{p.tenant, p.digest.Bytes(), purgeBatch}, func(scan Scan) error {
			var s session
			err := scan(&s.id, &s.object, &s.tail)
			sealed = append(sealed, s)
			return err
		})
		done = len(sealed)
		for _, s := range sealed {
			if err == nil {
				err = p.expire(t, s)
			}
		}
		return err
	})
	return done, err
}

func (p *purging) expire(t Tx, s session) error {
	if err := t.Queue(expireSealed, p.tenant, s.id[:], t.Interval(p.lifetimes.Committed)); err != nil {
		return err
	}
	staged := []uuid.UUID{s.object}
	if s.tail.Valid {
		staged = append(staged, s.tail.UUID)
	}
	for _, o := range staged {
		if err := t.Queue(condemnSealed, p.tenant, o[:], t.Interval(p.lifetimes.StagedDelay), p.digest.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// Manifests first: what they named has to be unlinked after them.
const nextPurged = `
SELECT repo_id, digest, manifest FROM purged_digests WHERE tenant_id = $1 AND purge = $2 ORDER BY manifest DESC, repo_id DESC, digest DESC LIMIT 1`

const forgetPurged = `
DELETE FROM purged_digests WHERE tenant_id = $1 AND purge = $2 AND repo_id = $3 AND digest = $4 AND manifest = $5`

// The rest of one that was begun, too.
const trashLeft = `
SELECT repo_id, digest FROM trashed_manifests WHERE tenant_id = $1 AND repo_id = $2 AND (digest = $3 OR CAST(children AS text) LIKE $4) LIMIT 1`

// purged is a manifest that has ended, or a blob that one named.
type purged struct {
	found
	manifest bool
}

// named ends what purged manifests named, and nothing else does, one at a time.
func (p *purging) named(ctx context.Context) (int, error) {
	rows, err := list(ctx, p.Records, p.tenant, func(scan Scan) (purged, error) {
		var m purged
		err := scan(&m.repo, digestScanner{&m.digest}, &m.manifest)
		return m, err
	}, nextPurged, p.tenant, p.digest.Bytes())
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	m := rows[0]
	if m.manifest {
		left, err := list(ctx, p.Records, p.tenant, scanTrashNaming, trashLeft, p.tenant, m.repo, m.digest.Bytes(), childPattern(m.digest))
		if err != nil {
			return 0, err
		}
		if len(left) > 0 {
			return 1, p.endTrash(ctx, left[0])
		}
		err = p.forget(ctx, m.found)
		if err != nil {
			return 0, err
		}
	} else if err := p.unlinkIn(ctx, m.repo, m.digest); err != nil {
		return 0, err
	} else if _, err := p.drop(ctx, m.digest); err != nil {
		return 0, err
	}
	return 1, p.write(ctx, func(t Tx) error {
		return t.Queue(forgetPurged, p.tenant, p.digest.Bytes(), m.repo, m.digest.Bytes(), m.manifest)
	})
}

const (
	findBlobToUnlink = `SELECT digest FROM blobs WHERE tenant_id = $1 AND digest = $2`
	lockBlobToUnlink = findBlobToUnlink + ` FOR UPDATE`

	// The trash and live manifests keep their links, whatever else a link was kept for.
	linksToEnd = `
SELECT rb.repo_id FROM repo_blobs rb
 WHERE rb.tenant_id = $1 AND rb.digest = $2
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)
   AND NOT EXISTS (SELECT 1 FROM trashed_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)
 ORDER BY rb.repo_id LIMIT $3`

	findLinkToEnd = `SELECT digest FROM repo_blobs WHERE tenant_id = $1 AND repo_id = $2 AND digest = $3`
	lockLinkToEnd = findLinkToEnd + ` FOR UPDATE`

	// It sees what the lock waited for.
	endLink = `
DELETE FROM repo_blobs
 WHERE tenant_id = $1 AND repo_id = $2 AND digest = $3
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = $3)
   AND NOT EXISTS (SELECT 1 FROM trashed_blobs m WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = $3)`

	releasePurged = `UPDATE blobs SET keep_until = berth_now() WHERE tenant_id = $1 AND digest = $2`
)

// blob unlinks the digest in repositories that do not need it, and drops it where none does.
func (p *purging) blob(ctx context.Context) (int, error) {
	repos, err := list(ctx, p.Records, p.tenant, scanOne, linksToEnd, p.tenant, p.digest.Bytes(), purgeBatch)
	if err != nil {
		return 0, err
	}
	for _, repo := range repos {
		if err := p.unlinkIn(ctx, repo, p.digest); err != nil {
			return 0, err
		}
	}
	dropped, err := p.drop(ctx, p.digest)
	return len(repos) + dropped, err
}

// unlinkIn is phase B, without its wait: after it, phase C would drop a blob without links.
func (p *purging) unlinkIn(ctx context.Context, repo int64, d oci.Digest) error {
	return p.write(ctx, func(t Tx) error {
		var one oci.Digest
		there, err := t.Find(t.Pick(findBlobToUnlink, lockBlobToUnlink), []any{p.tenant, d.Bytes()}, digestScanner{&one})
		if err != nil || !there {
			return err
		}
		there, err = t.Find(t.Pick(findLinkToEnd, lockLinkToEnd), []any{p.tenant, repo, d.Bytes()}, digestScanner{&one})
		if err != nil || !there {
			return err
		}
		n, err := t.Exec(endLink, p.tenant, repo, d.Bytes())
		if err != nil || n == 0 {
			return err
		}
		return t.Queue(releasePurged, p.tenant, d.Bytes())
	})
}

const (
	dropPurged = `
DELETE FROM blobs
 WHERE tenant_id = $1 AND digest = $2 AND NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = $1 AND rb.digest = $2)
RETURNING incarnation, size, hosted`

	condemnPurged = `
UPDATE objects SET state = 'D', delete_after = berth_now() + CAST($3 AS interval), cached = $4 WHERE tenant_id = $1 AND incarnation = $2 AND state = 'L'`

	// Where the blob is gone, purges of what named it meet here.
	findToHasten = `SELECT incarnation FROM objects WHERE tenant_id = $1 AND digest = $2 AND state = 'D' ORDER BY incarnation`
	lockToHasten = findToHasten + ` FOR NO KEY UPDATE`

	// Also those that were condemned before, and wait longer.
	hastenCondemned = `
UPDATE objects
   SET purge = $3,
       delete_after = CASE WHEN delete_after > berth_now() + CAST($4 AS interval) THEN berth_now() + CAST($4 AS interval) ELSE delete_after END
 WHERE tenant_id = $1 AND digest = $2 AND state = 'D' AND (purge IS NULL OR purge <> $3 OR delete_after > berth_now() + CAST($4 AS interval))`

	dischargePurged = `UPDATE usage SET used = used - $2 WHERE tenant_id = $1`
)

// drop is phase C, without its wait: no restore of the database needs what a purge ended. It
// returns how many objects are due sooner than before.
func (p *purging) drop(ctx context.Context, d oci.Digest) (int, error) {
	changed := 0
	err := p.write(ctx, func(t Tx) error {
		var one oci.Digest
		changed = 0
		if _, err := t.Find(t.Pick(findBlobToUnlink, lockBlobToUnlink), []any{p.tenant, d.Bytes()}, digestScanner{&one}); err != nil {
			return err
		}
		var object uuid.UUID
		var size int64
		var hosted bool
		dropped, err := t.Find(dropPurged, []any{p.tenant, d.Bytes()}, &object, &size, &hosted)
		if err != nil {
			return err
		}
		evicted := t.Interval(p.lifetimes.Evicted)
		if dropped {
			if err := t.Queue(condemnPurged, p.tenant, object[:], evicted, !hosted); err != nil {
				return err
			}
		}
		if err := t.List(t.Pick(findToHasten, lockToHasten), []any{p.tenant, d.Bytes()}, discard); err != nil {
			return err
		}
		n, err := t.Exec(hastenCondemned, p.tenant, d.Bytes(), p.digest.Bytes(), evicted)
		changed = int(n)
		if err != nil || !dropped {
			return err
		}
		return t.Queue(dischargePurged, p.tenant, size)
	})
	return changed, err
}
