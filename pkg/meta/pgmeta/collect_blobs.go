package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// link is a row of repo_blobs, or of blobs where repo is 0.
type link struct {
	tenant tenant.ID
	repo   int64
	digest oci.Digest
}

func scanLink(scan scan) (link, error) {
	var l link
	err := scan(&l.tenant, &l.repo, digestScanner{&l.digest})
	return l, err
}

// links are rows of several tenants, as they go into a statement.
type links struct {
	tenants []int64
	repos   []int64
	digests [][]byte
}

func (ls *links) add(l link) {
	ls.tenants = append(ls.tenants, int64(l.tenant))
	ls.repos = append(ls.repos, l.repo)
	ls.digests = append(ls.digests, l.digest.Bytes())
}

func (ls *links) len() int { return len(ls.tenants) }

// read replaces ls by the rows of a queued statement.
func (ls *links) read() func(scan) error {
	*ls = links{}
	return func(scan scan) error {
		l, err := scanLink(scan)
		ls.add(l)
		return err
	}
}

// linkCandidates, blobCandidates and linksOf lock nothing.
const linkCandidates = `
SELECT tenant_id, repo_id, digest FROM repo_blobs WHERE keep_until < berth_now() ORDER BY keep_until LIMIT $1`

// Lock and decision are separate statements on purpose: a new statement has a
// new snapshot. Rows that another transaction has locked are left to it.
const (
	lockBlobsOfLinks = `
SELECT l.tenant_id, l.repo_id, l.digest
  FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest)
  JOIN blobs b ON b.tenant_id = l.tenant_id AND b.digest = l.digest
 ORDER BY b.tenant_id, b.digest
   FOR NO KEY UPDATE OF b SKIP LOCKED`

	lockDueLinks = `
SELECT rb.tenant_id, rb.repo_id, rb.digest
  FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest)
  JOIN repo_blobs rb ON rb.tenant_id = l.tenant_id AND rb.repo_id = l.repo_id AND rb.digest = l.digest
 WHERE rb.keep_until < berth_now()
 ORDER BY rb.tenant_id, rb.repo_id, rb.digest
   FOR UPDATE OF rb SKIP LOCKED`

	unlinkUnnamed = `
DELETE FROM repo_blobs rb USING unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest)
 WHERE rb.tenant_id = l.tenant_id AND rb.repo_id = l.repo_id AND rb.digest = l.digest AND rb.keep_until < berth_now()
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)
   AND NOT EXISTS (SELECT 1 FROM trashed_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)
RETURNING rb.tenant_id, rb.repo_id, rb.digest`

	// What is still there of the locked ones is named by a manifest. What only the
	// trash names is trashed, whatever it was: a push may have come to nothing.
	linksAreNamed = `
UPDATE repo_blobs rb SET keep_until = NULL,
       trashed = NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)
  FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest)
 WHERE rb.tenant_id = l.tenant_id AND rb.repo_id = l.repo_id AND rb.digest = l.digest`

	releaseBlobs = `
UPDATE blobs b SET keep_until = berth_now()
  FROM unnest($1::bigint[], $2::bytea[]) AS l (tenant_id, digest)
 WHERE b.tenant_id = l.tenant_id AND b.digest = l.digest`
)

// UnlinkBlobs implements meta.Collector: phase B.
func (s *Store) UnlinkBlobs(ctx context.Context, limit int) (int, error) {
	candidates, err := collect(ctx, s, noTenant, scanLink, linkCandidates, limit)
	if err != nil || len(candidates) == 0 {
		return 0, err
	}
	var all links
	for _, l := range candidates {
		all.add(l)
	}
	work := 0
	err = s.write(ctx, noTenant, func(t *tx) error {
		var held, due, unlinked links
		t.queue(lockBlobsOfLinks, all.tenants, all.repos, all.digests).Query(each(held.read()))
		if err := t.flush(); err != nil {
			return err
		}
		t.queue(lockDueLinks, held.tenants, held.repos, held.digests).Query(each(due.read()))
		if err := t.flush(); err != nil {
			return err
		}
		work = due.len()
		t.queue(unlinkUnnamed, due.tenants, due.repos, due.digests).Query(each(unlinked.read()))
		if err := t.flush(); err != nil {
			return err
		}
		t.queue(releaseBlobs, unlinked.tenants, unlinked.digests)
		t.queue(linksAreNamed, due.tenants, due.repos, due.digests)
		t.queue(lockUsage, due.tenants) // what links count as may change, and how many of them count
		return nil
	})
	return work, err
}

const blobCandidates = `
SELECT tenant_id, 0::bigint, digest FROM blobs WHERE keep_until < berth_now() ORDER BY keep_until LIMIT $1`

const (
	lockDueBlobs = `
SELECT b.tenant_id, 0::bigint, b.digest
  FROM unnest($1::bigint[], $2::bytea[]) AS l (tenant_id, digest)
  JOIN blobs b ON b.tenant_id = l.tenant_id AND b.digest = l.digest
 WHERE b.keep_until < berth_now()
 ORDER BY b.tenant_id, b.digest
   FOR UPDATE OF b SKIP LOCKED`

	dropUnlinked = `
DELETE FROM blobs b USING unnest($1::bigint[], $2::bytea[]) AS l (tenant_id, digest)
 WHERE b.tenant_id = l.tenant_id AND b.digest = l.digest AND b.keep_until < berth_now()
   AND NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = b.tenant_id AND rb.digest = b.digest)
RETURNING b.tenant_id, b.incarnation, b.size, b.hosted`

	// What is still there of the locked ones is linked.
	blobsAreLinked = `
UPDATE blobs b SET keep_until = NULL
  FROM unnest($1::bigint[], $2::bytea[]) AS l (tenant_id, digest)
 WHERE b.tenant_id = l.tenant_id AND b.digest = l.digest`

	// Content that was never hosted does not wait for the restore window: after a
	// restore it is fetched again.
	condemnAllLive = `
WITH locked AS (
  SELECT o.tenant_id, o.incarnation, due.hosted
    FROM unnest($1::bigint[], $2::uuid[], $3::boolean[]) AS due (tenant_id, incarnation, hosted)
    JOIN objects o ON o.tenant_id = due.tenant_id AND o.incarnation = due.incarnation AND o.state = 'L'
   ORDER BY o.tenant_id, o.incarnation FOR UPDATE OF o
)
UPDATE objects o SET state = 'D', cached = NOT locked.hosted, delete_after = berth_now() + CASE WHEN locked.hosted THEN $4::interval ELSE $5::interval END
  FROM locked WHERE o.tenant_id = locked.tenant_id AND o.incarnation = locked.incarnation`

	lockUsage = `
SELECT 1 FROM usage WHERE tenant_id = ANY ($1::bigint[]) ORDER BY tenant_id FOR NO KEY UPDATE`

	dischargeUsage = `
UPDATE usage u SET used = u.used - dropped.size
  FROM (SELECT d.tenant_id, sum(d.size)::bigint AS size FROM unnest($1::bigint[], $2::bigint[]) AS d (tenant_id, size) GROUP BY d.tenant_id) dropped
 WHERE u.tenant_id = dropped.tenant_id`
)

// DropBlobs implements meta.Collector: phase C.
func (s *Store) DropBlobs(ctx context.Context, limit int) (int, error) {
	candidates, err := collect(ctx, s, noTenant, scanLink, blobCandidates, limit)
	if err != nil || len(candidates) == 0 {
		return 0, err
	}
	var all links
	for _, l := range candidates {
		all.add(l)
	}
	work := 0
	err = s.write(ctx, noTenant, func(t *tx) error {
		var due links
		var dropped keys
		var sizes []int64
		var hosted []bool
		t.queue(lockDueBlobs, all.tenants, all.digests).Query(each(due.read()))
		if err := t.flush(); err != nil {
			return err
		}
		work = due.len()
		t.queue(dropUnlinked, due.tenants, due.digests).Query(each(func(scan scan) error {
			var k blob.Key
			var size int64
			var wasHosted bool
			err := scan(&k.Tenant, uuidScanner{&k.Incarnation}, &size, &wasHosted)
			dropped.add(k)
			sizes, hosted = append(sizes, size), append(hosted, wasHosted)
			return err
		}))
		if err := t.flush(); err != nil {
			return err
		}
		t.queue(blobsAreLinked, due.tenants, due.digests)
		if dropped.len() > 0 {
			t.queue(condemnAllLive, dropped.tenants, dropped.ids, hosted, s.life.DeleteDelay, s.life.Evicted)
			t.queue(lockUsage, dropped.tenants)
			t.queue(dischargeUsage, dropped.tenants, sizes)
		}
		return nil
	})
	return work, err
}
