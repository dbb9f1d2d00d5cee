package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// The kinds of rows that are counted, in the order of a repository's.
const (
	countedNone = iota // the old counts are not gone
	countedRepository
	countedLinks
	countedManifests
	countedTags
)

// A step holds the tenant's row of usage, under which all counts of the tenant change: what
// commits before it is seen by its statements, and what commits after it sees its cursor.
const (
	nextToCount = `SELECT c.tenant_id FROM usage_counting c WHERE c.tenant_id > $1 ORDER BY c.tenant_id LIMIT 1`

	findUsageRow = `SELECT 1 FROM usage WHERE tenant_id = $1`
	lockUsageRow = findUsageRow + ` FOR NO KEY UPDATE`

	findCounting = `SELECT c.repo_id, c.kind, c.key FROM usage_counting c WHERE c.tenant_id = $1`
	lockCounting = findCounting + ` FOR UPDATE` // RecountHosted waits
	setCounting  = `UPDATE usage_counting SET repo_id = $2, kind = $3, key = $4 WHERE tenant_id = $1`
	endCounting  = `DELETE FROM usage_counting WHERE tenant_id = $1`

	dropCounts = `
DELETE FROM registry_blobs
 WHERE tenant_id = $1 AND (registry_id, digest) IN (SELECT x.registry_id, x.digest FROM registry_blobs x WHERE x.tenant_id = $1 LIMIT $2)`
	zeroCounts = `UPDATE registry_usage SET bytes = 0, repositories = 0, manifests = 0, tags = 0 WHERE tenant_id = $1`

	registryToCount = `
SELECT u.registry_id FROM repositories r JOIN registry_usage u ON u.tenant_id = r.tenant_id AND u.registry_id = r.registry_id
 WHERE r.tenant_id = $1 AND r.id = $2`

	nextRepositoryToCount = `SELECT r.id FROM repositories r WHERE r.tenant_id = $1 AND r.id > $2 ORDER BY r.id LIMIT 1`

	linksToCount     = `SELECT rb.digest FROM repo_blobs rb WHERE rb.tenant_id = $1 AND rb.repo_id = $2 AND rb.digest > $3 ORDER BY rb.digest LIMIT $4`
	manifestsToCount = `SELECT m.digest, m.size FROM manifests m WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest > $3 ORDER BY m.digest LIMIT $4`
	tagsToCount      = `SELECT g.name FROM tags g WHERE g.tenant_id = $1 AND g.repo_id = $2 AND g.name > $3 ORDER BY g.name LIMIT $4`

	countLinks = `
INSERT INTO registry_blobs (tenant_id, registry_id, digest, size, links)
SELECT rb.tenant_id, CAST($3 AS bigint), rb.digest, b.size, 1
  FROM repo_blobs rb JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest
 WHERE rb.tenant_id = $1 AND rb.repo_id = $2 AND rb.digest > $4 AND rb.digest <= $5 AND NOT rb.trashed
ON CONFLICT (tenant_id, registry_id, digest) DO UPDATE SET links = registry_blobs.links + 1`

	addCounts = `
UPDATE registry_usage SET bytes = bytes + $3, repositories = repositories + $4, manifests = manifests + $5, tags = tags + $6
 WHERE tenant_id = $1 AND registry_id = $2`

	recount = `
INSERT INTO usage_counting (tenant_id, repo_id, kind, key) VALUES ($1, 0, 0, $2)
    ON CONFLICT (tenant_id) DO UPDATE SET repo_id = 0, kind = 0, key = $2`
)

// countStep is how many rows are counted in one transaction: SQLite's one writer is held for a
// few milliseconds.
func (s *Records) countStep() int {
	if s.engine.Pick("sqlite", "") != "" {
		return 100
	}
	return 500
}

// CountHosted implements meta.Quotas.
func (s *Records) CountHosted(ctx context.Context, limit int) (int, error) {
	next, err := list(ctx, s, noTenant, func(scan Scan) (tenant.ID, error) {
		var id tenant.ID
		err := scan(&id)
		return id, err
	}, nextToCount, noTenant)
	if err != nil || len(next) == 0 {
		return 0, err
	}
	limit = min(limit, s.countStep())
	err = s.engine.Write(ctx, next[0], func(t Tx) error {
		return (&counting{Tx: t, tenant: next[0], left: limit}).step()
	})
	return limit, err
}

// RecountHosted implements meta.Quotas.
func (s *Records) RecountHosted(ctx context.Context, by meta.Cause, id tenant.ID) error {
	return s.engine.Write(ctx, id, func(t Tx) error {
		if err := Event(t, by, id, meta.RecountedUsage, "usage"); err != nil {
			return err
		}
		return t.Queue(recount, id, []byte{})
	})
}

// counting is a step of CountHosted.
type counting struct {
	Tx
	tenant   tenant.ID
	left     int   // rows that may be counted yet
	repo     int64 // the cursor: the last row that is counted
	kind     int
	key      []byte
	registry int64 // of repo; 0 if it is of an upstream, or gone
}

func (c *counting) step() error {
	var one int64
	if _, err := c.Find(c.Pick(findUsageRow, lockUsageRow), []any{c.tenant}, &one); err != nil {
		return err
	}
	there, err := c.Find(c.Pick(findCounting, lockCounting), []any{c.tenant}, &c.repo, &c.kind, &c.key)
	if err != nil || !there {
		return err
	}
	if c.kind == countedNone {
		n, err := c.Exec(dropCounts, c.tenant, c.left)
		if err != nil || n > 0 {
			return err
		}
		if _, err := c.Exec(zeroCounts, c.tenant); err != nil {
			return err
		}
		c.kind = countedTags
	}
	if _, err := c.Find(registryToCount, []any{c.tenant, c.repo}, &c.registry); err != nil {
		return err
	}
	for c.left > 0 {
		more, err := c.next()
		if err != nil {
			return err
		}
		if !more {
			_, err := c.Exec(endCounting, c.tenant)
			return err
		}
	}
	if c.key == nil {
		c.key = []byte{}
	}
	_, err = c.Exec(setCounting, c.tenant, c.repo, c.kind, c.key)
	return err
}

// next counts the rows after the cursor, of the kind that it is at or else of the next one, and
// reports false after the last repository.
func (c *counting) next() (bool, error) {
	asked, rows := c.left, 0
	var err error
	if c.registry != 0 {
		switch c.kind {
		case countedRepository:
			c.kind, c.key = countedLinks, nil
			return true, nil
		case countedLinks:
			rows, err = c.links()
		case countedManifests:
			rows, err = c.manifests()
		case countedTags:
			rows, err = c.tags()
		}
	}
	c.left -= rows
	switch {
	case err != nil || rows == asked:
		return true, err
	case c.registry != 0 && c.kind < countedTags:
		c.kind, c.key = c.kind+1, nil
		return true, nil
	default:
		return c.repository()
	}
}

// repository counts the next repository.
func (c *counting) repository() (bool, error) {
	there, err := c.Find(nextRepositoryToCount, []any{c.tenant, c.repo}, &c.repo)
	if err != nil || !there {
		return false, err
	}
	c.registry, c.key = 0, nil
	c.left--
	hosted, err := c.Find(registryToCount, []any{c.tenant, c.repo}, &c.registry)
	if err != nil {
		return false, err
	}
	if !hosted {
		c.kind = countedTags
		return true, nil
	}
	c.kind = countedRepository
	return true, c.add(0, 1, 0, 0)
}

func (c *counting) add(bytes int64, repositories, manifests, tags int) error {
	_, err := c.Exec(addCounts, c.tenant, c.registry, bytes, repositories, manifests, tags)
	return err
}

// digests lists what a query has after the cursor, and moves the cursor; more are further columns.
func (c *counting) digests(query string, each func(), more ...any) (int, error) {
	n := 0
	var last oci.Digest
	err := c.List(query, []any{c.tenant, c.repo, c.after(), c.left}, func(scan Scan) error {
		n++
		err := scan(append([]any{digestScanner{&last}}, more...)...)
		each()
		return err
	})
	if err == nil && n > 0 {
		c.key = last.Bytes()
	}
	return n, err
}

// after is the key of the cursor as an argument.
func (c *counting) after() []byte {
	if c.key == nil {
		return []byte{}
	}
	return c.key
}

func (c *counting) links() (int, error) {
	after := c.after()
	n, err := c.digests(linksToCount, func() {})
	if err != nil || n == 0 {
		return n, err
	}
	_, err = c.Exec(countLinks, c.tenant, c.repo, c.registry, after, c.key)
	return n, err
}

func (c *counting) manifests() (int, error) {
	var size, bytes int64
	n, err := c.digests(manifestsToCount, func() { bytes += size }, &size)
	if err != nil || n == 0 {
		return n, err
	}
	return n, c.add(bytes, 0, n, 0)
}

func (c *counting) tags() (int, error) {
	n, last := 0, ""
	err := c.List(tagsToCount, []any{c.tenant, c.repo, string(c.key), c.left}, func(scan Scan) error {
		n++
		return scan(&last)
	})
	if err != nil || n == 0 {
		return n, err
	}
	c.key = []byte(last)
	return n, c.add(0, 0, 0, n)
}
