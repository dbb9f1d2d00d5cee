package pgmeta

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

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
SELECT 'blob ' || encode(b.digest, 'hex') || ' of tenant ' || b.tenant_id || ' points to object ' || b.incarnation || ' in state ' || coalesce(o.state::text, 'none') AS detail,
       b.tenant_id AS tenant_id, NULL::bigint AS repo_id, b.digest AS digest, b.incarnation::text AS object
  FROM blobs b
  LEFT JOIN objects o ON o.tenant_id = b.tenant_id AND o.incarnation = b.incarnation
 WHERE o.state IS NULL OR o.state <> 'L'` + inPlace

const checkHeld = findingsOf + `
SELECT 'manifest ' || encode(m.manifest, 'hex') || ' of repository ' || m.repo_id || ' holds blob ' || encode(m.digest, 'hex') || ', which is not linked there' AS detail,
       m.tenant_id AS tenant_id, m.repo_id AS repo_id, m.digest AS digest, NULL::text AS object
  FROM manifest_blobs m
  LEFT JOIN repo_blobs rb ON rb.tenant_id = m.tenant_id AND rb.repo_id = m.held_repo_id AND rb.digest = m.digest
 WHERE m.held_repo_id IS NOT NULL AND rb.digest IS NULL` + inPlace

// Deletions run row by row, and cached content may lack references.
const checkChildren = findingsOf + `
SELECT 'index ' || encode(c.parent, 'hex') || ' of repository ' || c.repo_id || ' names manifest ' || encode(c.child, 'hex') || ', which is not there' AS detail,
       c.tenant_id AS tenant_id, c.repo_id AS repo_id, c.child AS digest, NULL::text AS object
  FROM manifest_children c
  JOIN repositories r ON r.tenant_id = c.tenant_id AND r.id = c.repo_id AND r.state <> 'deleting'
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.upstream_id IS NULL
  LEFT JOIN manifests m ON m.tenant_id = c.tenant_id AND m.repo_id = c.repo_id AND m.digest = c.child
 WHERE m.digest IS NULL AND coalesce(c.held, NOT coalesce((g.settings ->> 'allow_missing_references')::boolean, false))` + inPlace

const checkTags = findingsOf + `
SELECT 'tag ' || g.name || ' of repository ' || g.repo_id || ' points to manifest ' || encode(g.manifest, 'hex') || ', which is not there' AS detail,
       g.tenant_id AS tenant_id, g.repo_id AS repo_id, g.manifest AS digest, NULL::text AS object
  FROM tags g
  LEFT JOIN manifests m ON m.tenant_id = g.tenant_id AND m.repo_id = g.repo_id AND m.digest = g.manifest
 WHERE g.manifest IS NOT NULL AND m.digest IS NULL` + inPlace

const checkUsage = findingsOf + `
SELECT 'tenant ' || t.id || ' is charged ' || coalesce(u.used::text, 'nothing') || ' for ' || coalesce(b.size, 0) || ' bytes' AS detail,
       t.id AS tenant_id, NULL::bigint AS repo_id, NULL::bytea AS digest, NULL::text AS object
  FROM tenants t
  LEFT JOIN usage u ON u.tenant_id = t.id
  LEFT JOIN (SELECT tenant_id, sum(size)::bigint AS size FROM blobs GROUP BY tenant_id) b ON b.tenant_id = t.id
 WHERE u.used IS DISTINCT FROM coalesce(b.size, 0)` + inPlace

// The links of a repository that is being deleted go with it.
const checkUnmarkedLinks = findingsOf + `
SELECT 'blob ' || encode(rb.digest, 'hex') || ' is linked in repository ' || rb.repo_id || ', named by no manifest and not marked' AS detail,
       rb.tenant_id AS tenant_id, rb.repo_id AS repo_id, rb.digest AS digest, NULL::text AS object
  FROM repo_blobs rb
 WHERE rb.keep_until IS NULL
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)
   AND NOT EXISTS (SELECT 1 FROM trashed_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)
   AND NOT EXISTS (SELECT 1 FROM repositories r WHERE r.tenant_id = rb.tenant_id AND r.id = rb.repo_id AND r.state = 'deleting')` + inPlace

const checkUnmarkedBlobs = findingsOf + `
SELECT 'blob ' || encode(b.digest, 'hex') || ' of tenant ' || b.tenant_id || ' is linked nowhere and not marked' AS detail,
       b.tenant_id AS tenant_id, NULL::bigint AS repo_id, b.digest AS digest, NULL::text AS object
  FROM blobs b
 WHERE b.keep_until IS NULL
   AND NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = b.tenant_id AND rb.digest = b.digest)` + inPlace

// A hosted manifest expires only while it is provisional.
const checkExpiry = findingsOf + `
SELECT 'cached manifest ' || encode(m.digest, 'hex') || ' of repository ' || m.repo_id || ' never expires' AS detail,
       m.tenant_id AS tenant_id, m.repo_id AS repo_id, m.digest AS digest, NULL::text AS object
  FROM manifests m
  JOIN repositories r ON r.tenant_id = m.tenant_id AND r.id = m.repo_id
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
 WHERE g.upstream_id IS NOT NULL AND m.expire_at IS NULL` + inPlace

const checkProvisional = findingsOf + `
SELECT 'hosted manifest ' || encode(m.digest, 'hex') || ' of repository ' || m.repo_id || ' expires, though it ' ||
       CASE WHEN m.expire_at > berth_now() + $1::interval THEN 'was not to stay so long' ELSE 'has a tag' END AS detail,
       m.tenant_id AS tenant_id, m.repo_id AS repo_id, m.digest AS digest, NULL::text AS object
  FROM manifests m
  JOIN repositories r ON r.tenant_id = m.tenant_id AND r.id = m.repo_id
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
 WHERE g.upstream_id IS NULL AND m.expire_at IS NOT NULL
   AND (m.expire_at > berth_now() + $1::interval
        OR EXISTS (SELECT 1 FROM tags t WHERE t.tenant_id = m.tenant_id AND t.repo_id = m.repo_id AND t.manifest = m.digest))` + inPlace

// What was fetched as an upstream is configured now, and nothing else, can be
// reached.
const (
	checkCaches = findingsOf + `
SELECT 'cache registry ' || g.id || ' of tenant ' || g.tenant_id || ' is active, and its upstream ' || g.upstream_id || ' does not name it' AS detail,
       g.tenant_id AS tenant_id, NULL::bigint AS repo_id, NULL::bytea AS digest, NULL::text AS object
  FROM registries g
 WHERE g.upstream_id IS NOT NULL AND g.state = 'active'
   AND NOT EXISTS (SELECT 1 FROM upstreams u WHERE u.tenant_id = g.tenant_id AND u.id = g.upstream_id AND u.cache_id = g.id)` + inPlace

	// What could be taken over is of the same upstream, and is not served.
	checkKept = findingsOf + `
SELECT 'registry ' || k.id || ' of tenant ' || k.tenant_id || ' is kept for registry ' || g.id || ', and is not a former cache of its upstream' AS detail,
       k.tenant_id AS tenant_id, NULL::bigint AS repo_id, NULL::bytea AS digest, NULL::text AS object
  FROM registries k
  JOIN registries g ON g.tenant_id = k.tenant_id AND g.id = k.kept_for
 WHERE k.state <> 'deleting' OR coalesce(k.upstream_id, 0) <> coalesce(g.upstream_id, 0)` + inPlace

	checkUpstreams = findingsOf + `
SELECT 'upstream ' || u.id || ' of tenant ' || u.tenant_id || ' has no active cache registry of its own' AS detail,
       u.tenant_id AS tenant_id, NULL::bigint AS repo_id, NULL::bytea AS digest, NULL::text AS object
  FROM upstreams u
  JOIN tenants t ON t.id = u.tenant_id AND t.state IN ('active', 'suspended')
 WHERE NOT EXISTS (SELECT 1 FROM registries g WHERE g.tenant_id = u.tenant_id AND g.id = u.cache_id AND g.upstream_id = u.id AND g.state = 'active')` + inPlace
)

const checkSessions = findingsOf + `
SELECT 'upload ' || u.id || ' is ' || u.state || ', but its object ' || u.incarnation || ' is in state ' || coalesce(o.state::text, 'none') AS detail,
       u.tenant_id AS tenant_id, u.repo_id AS repo_id, NULL::bytea AS digest, u.incarnation::text AS object
  FROM uploads u
  LEFT JOIN objects o ON o.tenant_id = u.tenant_id AND o.incarnation = u.incarnation
 WHERE u.state IN ('open', 'sealed') AND o.state IS DISTINCT FROM 'S'` + inPlace

// An overdue row only shows that no janitor ran; a row that no janitor will ever
// find is a defect.
const (
	checkSessionTimes = findingsOf + `
SELECT 'upload ' || id || ' expires later than any session can' AS detail,
       tenant_id AS tenant_id, repo_id AS repo_id, NULL::bytea AS digest, incarnation::text AS object
  FROM uploads WHERE expires_at > berth_now() + $1::interval` + inPlace

	checkCondemnedTimes = findingsOf + `
SELECT 'object ' || incarnation || ' of tenant ' || tenant_id || ' is condemned for later than any can be' AS detail,
       tenant_id AS tenant_id, NULL::bigint AS repo_id, NULL::bytea AS digest, incarnation::text AS object
  FROM objects WHERE state = 'D' AND greatest(delete_after, next_try) > berth_now() + $1::interval` + inPlace
)

// Every unique key of a table of tenant data, and every foreign key to or from
// one, starts with tenant_id; but who a host leads to is decided between
// tenants.
const (
	checkUniqueKeys = findingsOf + `
SELECT 'unique key ' || i.indexrelid::regclass::text || ' of ' || i.indrelid::regclass::text || ' does not start with tenant_id' AS detail,
       NULL::bigint AS tenant_id, NULL::bigint AS repo_id, NULL::bytea AS digest, NULL::text AS object
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indrelid AND c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
  JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped
  JOIN pg_class x ON x.oid = i.indexrelid
 WHERE i.indisunique AND i.indkey[0] <> t.attnum AND x.relname <> 'domains_routing'` + inPlace

	checkForeignKeys = findingsOf + `
SELECT 'a foreign key of ' || f.conrelid::regclass::text || ' to ' || f.confrelid::regclass::text || ' does not start with tenant_id' AS detail,
       NULL::bigint AS tenant_id, NULL::bigint AS repo_id, NULL::bytea AS digest, NULL::text AS object
  FROM pg_constraint f
  JOIN pg_class c ON c.oid = f.conrelid AND c.relnamespace = current_schema()::regnamespace
  JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped
 WHERE f.contype = 'f' AND f.conkey[1] <> t.attnum` + inPlace
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
	{"I13", checkUnmarkedLinks},
	{"I13", checkUnmarkedBlobs},
	{"I12", checkCaches},
	{"I12", checkUpstreams},
	{"I12", checkKept},
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
	latest := func(waits ...time.Duration) time.Duration { return slices.Max(waits) + slack }
	return errors.Join(
		s.check(ctx, report, check{"I3", checkSessionTimes}, latest(s.life.UploadTTL, s.life.Committed)),
		s.check(ctx, report, check{"I3", checkCondemnedTimes}, latest(s.life.StagedDelay, s.life.DeleteDelay, claimTime)),
		s.check(ctx, report, check{"I13", checkProvisional}, latest(s.life.Grace, s.life.Undelete)),
		s.check(ctx, report, check{"I13", checkDeleted}, latest(s.life.Undelete)),
	)
}

func (s *Store) check(ctx context.Context, report func(meta.Finding), c check, args ...any) error {
	return s.walk(ctx, c.query, args, func(scan scan) error {
		f, err := scanFinding(scan)
		f.Invariant = c.invariant
		if err == nil {
			report(f)
		}
		return err
	})
}

// The blob is looked up for each object: a join might begin at the first blob of all.
const listObjects = `
SELECT o.tenant_id, o.incarnation, o.state, o.size,
       (SELECT b.digest FROM blobs b WHERE b.tenant_id = o.tenant_id AND b.incarnation = o.incarnation LIMIT 1),
       coalesce((SELECT NOT b.hosted FROM blobs b WHERE b.tenant_id = o.tenant_id AND b.incarnation = o.incarnation LIMIT 1), false),
       coalesce((SELECT b.suspect FROM blobs b WHERE b.tenant_id = o.tenant_id AND b.incarnation = o.incarnation LIMIT 1), false)
  FROM objects o
 WHERE (o.tenant_id, o.incarnation) > ($1, $2)
 ORDER BY o.tenant_id, o.incarnation LIMIT $3`

// ListObjects implements meta.Checker.
func (s *Store) ListObjects(ctx context.Context, after blob.Key, limit int) ([]meta.ObjectRow, error) {
	return collect(ctx, s, noTenant, scanObject, listObjects, after.Tenant, pgtype.UUID{Bytes: after.Incarnation, Valid: true}, limit)
}

const findObject = `
SELECT o.tenant_id, o.incarnation, o.state, o.size,
       (SELECT b.digest FROM blobs b WHERE b.tenant_id = o.tenant_id AND b.incarnation = o.incarnation LIMIT 1),
       coalesce((SELECT NOT b.hosted FROM blobs b WHERE b.tenant_id = o.tenant_id AND b.incarnation = o.incarnation LIMIT 1), false),
       coalesce((SELECT b.suspect FROM blobs b WHERE b.tenant_id = o.tenant_id AND b.incarnation = o.incarnation LIMIT 1), false)
  FROM objects o
 WHERE o.tenant_id = $1 AND o.incarnation = $2`

// FindObject implements meta.Checker.
func (s *Store) FindObject(ctx context.Context, k blob.Key) (meta.ObjectRow, error) {
	found, err := collect(ctx, s, noTenant, scanObject, findObject, k.Tenant, pgUUID(k.Incarnation))
	return sqlmeta.One(found, err, fault.New(fault.NotFound, fault.ResourceUnknown, "object %s is not known", k))
}

func scanObject(scan scan) (meta.ObjectRow, error) {
	var row meta.ObjectRow
	var d oci.Digest
	err := scan(&row.Key.Tenant, uuidScanner{&row.Key.Incarnation}, &row.State, &row.Size, digestScanner{&d}, &row.Cached, &row.Suspect)
	row.Blob = d.String()
	return row, err
}
