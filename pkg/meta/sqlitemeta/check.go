package sqlitemeta

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
)

// check is a query whose rows break an invariant: what is wrong, and the tenant,
// repository, digest and object, if any. All checks read whole tables.
type check struct {
	invariant string
	query     string
}

// D is final and nothing points to it.
const checkPointers = findingsOf + `
SELECT 'blob ' || hex(b.digest) || ' of tenant ' || b.tenant_id || ' points to object ' || lower(hex(b.incarnation)) || ' in state ' || coalesce(o.state, 'none') AS detail,
       b.tenant_id AS tenant_id, NULL AS repo_id, b.digest AS digest, lower(hex(b.incarnation)) AS object
  FROM blobs b
  LEFT JOIN objects o ON o.tenant_id = b.tenant_id AND o.incarnation = b.incarnation
 WHERE o.state IS NULL OR o.state <> 'L'` + inPlace

const checkHeld = findingsOf + `
SELECT 'manifest ' || hex(m.manifest) || ' of repository ' || m.repo_id || ' holds blob ' || hex(m.digest) || ', which is not linked there' AS detail,
       m.tenant_id AS tenant_id, m.repo_id AS repo_id, m.digest AS digest, NULL AS object
  FROM manifest_blobs m
  LEFT JOIN repo_blobs rb ON rb.tenant_id = m.tenant_id AND rb.repo_id = m.held_repo_id AND rb.digest = m.digest
 WHERE m.held_repo_id IS NOT NULL AND rb.digest IS NULL` + inPlace

// Deletions run row by row, and cached content may lack references.
const checkChildren = findingsOf + `
SELECT 'index ' || hex(c.parent) || ' of repository ' || c.repo_id || ' names manifest ' || hex(c.child) || ', which is not there' AS detail,
       c.tenant_id AS tenant_id, c.repo_id AS repo_id, c.child AS digest, NULL AS object
  FROM manifest_children c
  JOIN repositories r ON r.tenant_id = c.tenant_id AND r.id = c.repo_id AND r.state <> 'deleting'
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.upstream_id IS NULL
  LEFT JOIN manifests m ON m.tenant_id = c.tenant_id AND m.repo_id = c.repo_id AND m.digest = c.child
 WHERE m.digest IS NULL AND coalesce(c.held, g.settings ->> 'allow_missing_references' IS NOT 1)` + inPlace

const checkTags = findingsOf + `
SELECT 'tag ' || g.name || ' of repository ' || g.repo_id || ' points to manifest ' || hex(g.manifest) || ', which is not there' AS detail,
       g.tenant_id AS tenant_id, g.repo_id AS repo_id, g.manifest AS digest, NULL AS object
  FROM tags g
  LEFT JOIN manifests m ON m.tenant_id = g.tenant_id AND m.repo_id = g.repo_id AND m.digest = g.manifest
 WHERE g.manifest IS NOT NULL AND m.digest IS NULL` + inPlace

const checkUsage = findingsOf + `
SELECT 'tenant ' || t.id || ' is charged ' || coalesce(u.used, 'nothing') || ' for ' || coalesce(b.size, 0) || ' bytes' AS detail,
       t.id AS tenant_id, NULL AS repo_id, NULL AS digest, NULL AS object
  FROM tenants t
  LEFT JOIN usage u ON u.tenant_id = t.id
  LEFT JOIN (SELECT tenant_id, sum(size) AS size FROM blobs GROUP BY tenant_id) b ON b.tenant_id = t.id
 WHERE u.used IS NOT coalesce(b.size, 0)` + inPlace

const checkUnmarkedLinks = findingsOf + `
SELECT 'blob ' || hex(rb.digest) || ' is linked in repository ' || rb.repo_id || ', named by no manifest and not marked' AS detail,
       rb.tenant_id AS tenant_id, rb.repo_id AS repo_id, rb.digest AS digest, NULL AS object
  FROM repo_blobs rb
 WHERE rb.keep_until IS NULL
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)
   AND NOT EXISTS (SELECT 1 FROM trashed_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)` + inPlace

const checkUnmarkedBlobs = findingsOf + `
SELECT 'blob ' || hex(b.digest) || ' of tenant ' || b.tenant_id || ' is linked nowhere and not marked' AS detail,
       b.tenant_id AS tenant_id, NULL AS repo_id, b.digest AS digest, NULL AS object
  FROM blobs b
 WHERE b.keep_until IS NULL
   AND NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = b.tenant_id AND rb.digest = b.digest)` + inPlace

// A hosted manifest expires only while it is provisional.
const (
	checkExpiry = findingsOf + `
SELECT 'manifest ' || hex(m.digest) || ' of repository ' || m.repo_id || ' is cached and never expires' AS detail,
       m.tenant_id AS tenant_id, m.repo_id AS repo_id, m.digest AS digest, NULL AS object
  FROM manifests m
  JOIN repositories r ON r.tenant_id = m.tenant_id AND r.id = m.repo_id
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
 WHERE g.upstream_id IS NOT NULL AND m.expire_at IS NULL` + inPlace

	checkProvisional = findingsOf + `
SELECT 'manifest ' || hex(m.digest) || ' of repository ' || m.repo_id || ' is hosted and expires, though it ' ||
       CASE WHEN m.expire_at > ?1 THEN 'was not to stay so long' ELSE 'has a tag' END AS detail,
       m.tenant_id AS tenant_id, m.repo_id AS repo_id, m.digest AS digest, NULL AS object
  FROM manifests m
  JOIN repositories r ON r.tenant_id = m.tenant_id AND r.id = m.repo_id
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
 WHERE g.upstream_id IS NULL AND m.expire_at IS NOT NULL
   AND (m.expire_at > ?1
        OR EXISTS (SELECT 1 FROM tags t WHERE t.tenant_id = m.tenant_id AND t.repo_id = m.repo_id AND t.manifest = m.digest))` + inPlace
)

// Cached content is only reachable through the cache registry that its upstream
// names.
const (
	checkCaches = findingsOf + `
SELECT 'registry ' || g.id || ' of tenant ' || g.tenant_id || ' is an active cache, but not that of upstream ' || g.upstream_id AS detail,
       g.tenant_id AS tenant_id, NULL AS repo_id, NULL AS digest, NULL AS object
  FROM registries g
  LEFT JOIN upstreams u ON u.tenant_id = g.tenant_id AND u.id = g.upstream_id
 WHERE g.upstream_id IS NOT NULL AND g.state = 'active' AND u.cache_id IS NOT g.id` + inPlace

	// What could be taken over is of the same upstream, and is not served.
	checkKept = findingsOf + `
SELECT 'registry ' || k.id || ' of tenant ' || k.tenant_id || ' is kept for registry ' || g.id || ', and is not a former cache of its upstream' AS detail,
       k.tenant_id AS tenant_id, NULL AS repo_id, NULL AS digest, NULL AS object
  FROM registries k
  JOIN registries g ON g.tenant_id = k.tenant_id AND g.id = k.kept_for
 WHERE k.state <> 'deleting' OR coalesce(k.upstream_id, 0) <> coalesce(g.upstream_id, 0)` + inPlace

	checkUpstreams = findingsOf + `
SELECT 'upstream ' || u.id || ' of tenant ' || u.tenant_id || ' names registry ' || coalesce(u.cache_id, 'none') || ', which is not its cache' AS detail,
       u.tenant_id AS tenant_id, NULL AS repo_id, NULL AS digest, NULL AS object
  FROM upstreams u
  LEFT JOIN registries g ON g.tenant_id = u.tenant_id AND g.id = u.cache_id AND g.state = 'active'
 WHERE g.upstream_id IS NOT u.id` + inPlace
)

const checkSessions = findingsOf + `
SELECT 'upload ' || lower(hex(u.id)) || ' is ' || u.state || ', but its object ' || lower(hex(u.incarnation)) || ' is in state ' || coalesce(o.state, 'none') AS detail,
       u.tenant_id AS tenant_id, u.repo_id AS repo_id, NULL AS digest, lower(hex(u.incarnation)) AS object
  FROM uploads u
  LEFT JOIN objects o ON o.tenant_id = u.tenant_id AND o.incarnation = u.incarnation
 WHERE u.state IN ('open', 'sealed') AND o.state IS NOT 'S'` + inPlace

// An overdue row only shows that no janitor ran; a row that no janitor will ever
// find is a defect.
const (
	checkSessionTimes = findingsOf + `
SELECT 'upload ' || lower(hex(id)) || ' expires later than any session can' AS detail,
       tenant_id AS tenant_id, repo_id AS repo_id, NULL AS digest, lower(hex(incarnation)) AS object
  FROM uploads WHERE expires_at > ?1` + inPlace

	checkCondemnedTimes = findingsOf + `
SELECT 'object ' || lower(hex(incarnation)) || ' of tenant ' || tenant_id || ' is condemned for later than any can be' AS detail,
       tenant_id AS tenant_id, NULL AS repo_id, NULL AS digest, lower(hex(incarnation)) AS object
  FROM objects WHERE state = 'D' AND max(delete_after, coalesce(next_try, 0)) > ?1` + inPlace
)

// Every unique key of a table of tenant data, and every foreign key to or from one,
// starts with tenant_id. Ids alone are keys too, so that they are not reused. Hosts
// are unique between tenants.
const (
	checkUniqueKeys = findingsOf + `
SELECT 'unique key ' || i.name || ' of ' || t.name || ' does not start with tenant_id' AS detail,
       NULL AS tenant_id, NULL AS repo_id, NULL AS digest, NULL AS object
  FROM pragma_table_list t
  JOIN pragma_table_info(t.name) tenant ON tenant.name = 'tenant_id'
  JOIN pragma_index_list(t.name) i ON i."unique" = 1
  JOIN pragma_index_info(i.name) c ON c.seqno = 0
 WHERE t.schema = 'main' AND c.name IS NOT 'tenant_id' AND i.name <> 'domains_routing'` + inPlace

	checkForeignKeys = findingsOf + `
SELECT 'a foreign key of ' || t.name || ' to ' || f."table" || ' does not start with tenant_id' AS detail,
       NULL AS tenant_id, NULL AS repo_id, NULL AS digest, NULL AS object
  FROM pragma_table_list t
  JOIN pragma_table_info(t.name) tenant ON tenant.name = 'tenant_id'
  JOIN pragma_foreign_key_list(t.name) f ON f.seq = 0
 WHERE t.schema = 'main' AND f."from" <> 'tenant_id'` + inPlace
)

var rowChecks = []check{
	{"I3", checkSessions},
	{"I4", checkPointers},
	{"I5", checkHeld},
	{"I5", checkChildren},
	{"I5", checkTrashHeld},
	{"I6", checkTags},
	{"I7", checkUsage},
	{"I7", checkCharges},
	{"I7", checkFlags},
	{"I7", checkLinks},
	{"I7", checkHosted},
	{"I10", checkUniqueKeys},
	{"I10", checkForeignKeys},
	{"I12", checkCaches},
	{"I12", checkUpstreams},
	{"I12", checkKept},
	{"I13", checkUnmarkedLinks},
	{"I13", checkUnmarkedBlobs},
	{"I13", checkExpiry},
	{"I13", checkTrashedLinks},
}

// slack is how much clocks may differ.
const slack = time.Hour

// CheckRows implements meta.Checker.
func (s *Store) CheckRows(ctx context.Context, report func(meta.Finding)) error {
	for _, c := range rowChecks {
		if err := s.check(ctx, report, c); err != nil {
			return err
		}
	}
	latest := func(waits ...time.Duration) int64 { return s.opts.Now().Add(slices.Max(waits) + slack).UnixMicro() }
	return errors.Join(
		s.check(ctx, report, check{"I3", checkSessionTimes}, latest(s.life.UploadTTL, s.life.Committed)),
		s.check(ctx, report, check{"I3", checkCondemnedTimes}, latest(s.life.StagedDelay, s.life.DeleteDelay, claimTime)),
		s.check(ctx, report, check{"I13", checkProvisional}, latest(s.life.Grace, s.life.Undelete)),
		s.check(ctx, report, check{"I13", checkDeleted}, latest(s.life.Undelete)),
	)
}

func (s *Store) check(ctx context.Context, report func(meta.Finding), c check, args ...any) error {
	return s.list(ctx, c.query, args, func(scan scan) error {
		f, err := scanFinding(scan)
		f.Invariant = c.invariant
		if err == nil {
			report(f)
		}
		return err
	})
}

const listObjects = `
SELECT o.tenant_id, o.incarnation, o.state, o.size, b.digest, coalesce(b.hosted = 0, 0), coalesce(b.suspect, 0)
  FROM objects o
  LEFT JOIN blobs b ON b.tenant_id = o.tenant_id AND b.incarnation = o.incarnation AND b.ostate = 'L'
 WHERE (o.tenant_id, o.incarnation) > (?1, ?2)
 ORDER BY o.tenant_id, o.incarnation LIMIT ?3`

// ListObjects implements meta.Checker.
func (s *Store) ListObjects(ctx context.Context, after blob.Key, limit int) ([]meta.ObjectRow, error) {
	return collect(ctx, s, scanObject, listObjects, after.Tenant, after.Incarnation[:], limit)
}

const findObject = `
SELECT o.tenant_id, o.incarnation, o.state, o.size, b.digest, coalesce(b.hosted = 0, 0), coalesce(b.suspect, 0)
  FROM objects o
  LEFT JOIN blobs b ON b.tenant_id = o.tenant_id AND b.incarnation = o.incarnation AND b.ostate = 'L'
 WHERE o.tenant_id = ?1 AND o.incarnation = ?2`

// FindObject implements meta.Checker.
func (s *Store) FindObject(ctx context.Context, k blob.Key) (meta.ObjectRow, error) {
	found, err := collect(ctx, s, scanObject, findObject, k.Tenant, k.Incarnation[:])
	return sqlmeta.One(found, err, fault.New(fault.NotFound, fault.ResourceUnknown, "object %s is not known", k))
}

func scanObject(scan scan) (meta.ObjectRow, error) {
	var (
		row   meta.ObjectRow
		state string
		d     oci.Digest
	)
	err := scan(&row.Key.Tenant, &row.Key.Incarnation, &state, &row.Size, digestScanner{&d}, &row.Cached, &row.Suspect)
	if err == nil {
		row.State, row.Blob = state[0], d.String()
	}
	return row, err
}
