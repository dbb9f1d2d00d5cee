package pgmeta

import (
	"go/ast"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/meta/metatest"
)

// statements are this package's and those of sqlmeta.
func statements(t *testing.T) map[string]string {
	all := metatest.Statements(t)
	maps.Copy(all, metatest.SharedStatements(t, "Postgres"))
	return all
}

func TestStatementsPrepare(t *testing.T) {
	c := connect(t, migrated(t))
	for name, query := range statements(t) {
		if _, err := c.Prepare(t.Context(), name, query); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// node is a step of a plan, as EXPLAIN (FORMAT JSON) tells it.
type node struct {
	Type      string `json:"Node Type"`
	Relation  string `json:"Relation Name"`
	Index     string `json:"Index Name"`
	Alias     string
	Condition string `json:"Index Cond"`
	Recheck   string `json:"Recheck Cond"`
	Filter    string
	Hash      string `json:"Hash Cond"`
	Merge     string `json:"Merge Cond"`
	Join      string `json:"Join Filter"`
	Plans     []node
}

// walksAll finds the steps that go through a whole table, or a whole index that
// is not there to find few rows.
func (n node) walksAll() []string {
	var found []string
	few := strings.HasSuffix(n.Index, "_deleting") || n.Index == "upstreams_limited" || n.Index == "objects_evicted" || n.Index == "uploads_staged" || n.Index == "events_pending"
	scan := n.Type == "Seq Scan" || strings.Contains(n.Type, "Index") && strings.HasSuffix(n.Type, "Scan")
	if scan && n.Condition == "" && !few {
		found = append(found, n.Type+" of "+n.Relation+" by "+n.Index)
	}
	for _, below := range n.Plans {
		found = append(found, below.walksAll()...)
	}
	return found
}

// walkers are the statements that read a whole table on purpose: fsck, the
// weekly sweep, and what has few rows.
func walker(name string) bool {
	return strings.HasPrefix(name, "check") && name != "checkBlob" || strings.HasPrefix(name, "unmarked") ||
		name == "listSigningKeys" || name == "listVerifyKeys" || name == "listOpenSigningKeys" || name == "openKeys" || name == "unfinishedDeletion" || name == "unfinishedPurge" || name == "forgetStray" || name == "sumUsage" || strings.HasPrefix(name, "recount") || name == "sumTotal" || name == "endLostRecorders" || name == "trimUsageRecorders" || name == "findPullAccounting" || name == "countDamaged" || name == "fullTenants" || name == "crowdedTenants" || name == "cacheSize" || name == "cachingTenants" || name == "findDurability" || name == "schemaVersion" || strings.HasSuffix(name, "Migrations")
}

// large are rows of every table, so many that the planner weighs its ways.
var large = []string{
	`INSERT INTO tenants (id, slug, display_name, state, epoch, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
	 SELECT i, 't' || i, '', CASE WHEN i = 1 THEN 'deleting' ELSE 'active' END, 1, 1, now(), now() FROM generate_series(1, 2000) i`,
	`INSERT INTO usage SELECT i, 0, 0 FROM generate_series(1, 2000) i`,
	`INSERT INTO registries (tenant_id, id, slug, settings, state, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
	 SELECT i / 2 + 1, i, 'r' || i, '{}', CASE WHEN i < 3 THEN 'deleting' ELSE 'active' END, 1, now(), now() FROM generate_series(1, 4000) i`,
	`INSERT INTO domains SELECT i / 2 + 1, 'd' || i, i, true, '', 1, now() FROM generate_series(1, 4000) i`,
	`INSERT INTO accounts (tenant_id, id, slug, display_name, role, disabled, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
	 SELECT i / 4 + 1, i, 'a' || i, '', 'reader', false, 1, now(), now() FROM generate_series(1, 8000) i`,
	`INSERT INTO account_keys SELECT i / 4 + 1, i, 'k', sha256(i::text::bytea), now(), NULL FROM generate_series(1, 8000) i`,
	`INSERT INTO identity_providers (tenant_id, id, slug, kind, display_name, disabled, settings, secret, tenants, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
	 SELECT i / 2 + 1, i, 'p' || i, 'LDAP', '', false, '{}', '', '[]', 1, now(), now() FROM generate_series(1, 4000) i`,
	`INSERT INTO account_identities SELECT i / 4 + 1, i, i % 400 + 1, 's' || i, '', '[]', now(), now(), now(), now() + i * interval '1 second', NULL FROM generate_series(1, 8000) i`,
	`INSERT INTO person_tokens SELECT i % 400 + 1, 's' || i, 'k', sha256(i::text::bytea), '', '', now(), now() FROM generate_series(1, 8000) i`,
	`INSERT INTO mapped_groups SELECT i % 400 + 1, i % 2000 + 1, sha256(''), 'g' || i, now() FROM generate_series(1, 8000) i`,
	`INSERT INTO mapping_made SELECT i % 400 + 1, i % 2000 + 1, i FROM generate_series(1, 8000) i`,
	`INSERT INTO group_identities SELECT i / 4 + 1, i % 400 + 1, 'd' || i, 'g' || i FROM generate_series(1, 8000) i`,
	`INSERT INTO account_trusts SELECT i / 4 + 1, i, 'k', 'https://issuer.example', '[]', 'c', '', now(), NULL, NULL, NULL FROM generate_series(1, 8000) i`,
	`INSERT INTO operators (id, slug, display_name, disabled, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
	 SELECT i, 'o' || i, '', false, 1, now(), now() FROM generate_series(1, 2000) i`,
	`INSERT INTO operator_tokens SELECT i / 4 + 1, 'k' || i, sha256(i::text::bytea), '', now(), now() FROM generate_series(1, 7000) i`,
	`INSERT INTO sessions SELECT i / 4 + 1, i, 's', sha256(i::text::bytea), '', '', now(), '', now(), '', now() + i * interval '1 second' FROM generate_series(1, 8000) i`,
	`INSERT INTO events (tenant_id, op, at, actor, verb, target, request_id) SELECT i % 2000 + 1, gen_random_uuid(), now(), '', '', '', '' FROM generate_series(1, 20000) i`,
	`INSERT INTO repositories (tenant_id, id, registry_id, name, state, listed, created_at, expire_at) OVERRIDING SYSTEM VALUE
	 SELECT i / 10 / 2 + 1, i, i / 10 + 1, 'n' || i, CASE WHEN i % 1000 = 0 THEN 'deleting' WHEN i % 50 = 1 THEN 'deleted' ELSE 'active' END, true, now(),
	        CASE WHEN i % 50 = 1 THEN now() + random() * interval '1 day' END FROM generate_series(1, 30000) i`,
	`INSERT INTO name_claims SELECT tenant_id, registry_id, name, now() FROM repositories`,
	`INSERT INTO objects (tenant_id, incarnation, state, created_at, delete_after)
	 SELECT tenant_id, gen_random_uuid(), s.state, now(), CASE WHEN s.state = 'D' THEN now() END FROM repositories r, unnest(ARRAY['L', 'L', 'S', 'D']::"char"[]) AS s (state)`,
	`INSERT INTO blobs (tenant_id, digest, size, incarnation, keep_until)
	 SELECT tenant_id, sha256(incarnation::text::bytea), 1, incarnation, CASE WHEN random() < 0.1 THEN now() END FROM objects WHERE state = 'L'`,
	`INSERT INTO repo_blobs SELECT r.tenant_id, r.id, b.digest, b.keep_until FROM repositories r JOIN blobs b USING (tenant_id) WHERE r.id % 5 = 0`,
	`INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, subject, artifact_type, annotations, created_at, payload)
	 SELECT tenant_id, id, sha256((id || '/' || n)::bytea), '', 1, CASE WHEN n = 3 THEN sha256((id || '/1')::bytea) END, '', '{}', now(), '' FROM repositories, generate_series(1, 3) n`,
	`INSERT INTO manifest_blobs SELECT m.tenant_id, m.repo_id, m.digest, rb.digest, m.repo_id FROM manifests m JOIN repo_blobs rb USING (tenant_id, repo_id)`,
	`INSERT INTO manifest_children SELECT tenant_id, repo_id, digest, digest FROM manifests`,
	`INSERT INTO tags SELECT tenant_id, repo_id, 'v' || row_number() OVER (), digest, 1 FROM manifests`,
	`INSERT INTO tag_history SELECT tenant_id, repo_id, name, n, manifest, manifest, 'push', '', now() - n * interval '1 day' FROM tags, generate_series(1, 2) n`,
	`INSERT INTO search_changes (tenant_id, repo_id, tag) SELECT tenant_id, repo_id, name FROM tags`,
	`INSERT INTO search_entries (tenant_id, kind, term, repo_id, subject) SELECT tenant_id, 2, name, repo_id, name FROM tags`,
	`INSERT INTO search_terms (tenant_id, kind, term, grams) SELECT DISTINCT tenant_id, 2, name, ARRAY[hashtext(left(name, 3)), hashtext(right(name, 3))] FROM tags`,
	`INSERT INTO search_grams SELECT tenant_id, g, count(*) FROM search_terms, unnest(grams) g GROUP BY 1, 2`,
	`INSERT INTO manifest_pulls SELECT tenant_id, repo_id, digest, now(), 1 FROM manifests`,
	`INSERT INTO tag_pulls SELECT tenant_id, repo_id, name, now(), 1 FROM tags`,
	`INSERT INTO uploads (tenant_id, id, repo_id, state, epoch, off, algorithm, incarnation, expires_at)
	 SELECT o.tenant_id, gen_random_uuid(), r.id, 'open', 1, 1, '', o.incarnation, now() + interval '1 hour' FROM objects o JOIN repositories r USING (tenant_id) WHERE o.state = 'S' AND r.id % 10 = 1`,
	`INSERT INTO upload_parts SELECT tenant_id, id, 1, 1, '' FROM uploads`,
	`INSERT INTO upstreams (tenant_id, id, slug, settings, status, cache_id, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
	 SELECT tenant_id, id, 'u' || id, CASE WHEN id % 10 = 0 THEN '{"max_bytes": 1}' ELSE '{}' END::json, '{}', id, 1, now(), now() FROM registries WHERE id % 4 = 0`,
	`UPDATE registries SET upstream_id = id WHERE id % 4 = 0`,
	`INSERT INTO upstream_groups SELECT i / 2 + 1, 'g' || i, '[]', 1, now(), now() FROM generate_series(1, 4000) i`,
	`INSERT INTO promotion_gates SELECT i / 2 + 1, 'l' || i, '', '', false, '{}', 1, now(), now() FROM generate_series(1, 4000) i`,
	`INSERT INTO pull_rules SELECT i / 2 + 1, 'l' || i, '', '', false, '{}', 1, now(), now() FROM generate_series(1, 4000) i`,
	`INSERT INTO tag_rules SELECT i / 2 + 1, 'l' || i, '', '', false, '{}', 1, now(), now() FROM generate_series(1, 4000) i`,
	`INSERT INTO mirror_hosts SELECT i / 2 + 1, 'm' || i, 'main', 'u', '', false, '', '', 1, now(), now() FROM generate_series(1, 4000) i`,
	`INSERT INTO mirror_names SELECT tenant_id, slug, true, sha256(slug::bytea), now() FROM mirror_hosts`,
	`INSERT INTO mirror_addresses SELECT tenant_id, slug, '192.0.2.' || i, now() FROM mirror_hosts, generate_series(1, 9) i`,
	`UPDATE manifests m SET expire_at = now() - random() * interval '60 days' + interval '30 days'
	   FROM repositories r WHERE r.tenant_id = m.tenant_id AND r.id = m.repo_id AND r.registry_id % 4 = 0`,
	`INSERT INTO cache_tags SELECT tenant_id, repo_id, 'v' || row_number() OVER (), digest, NULL, now() FROM manifests WHERE expire_at IS NOT NULL`,
	`INSERT INTO referrer_deletions SELECT tenant_id, repo_id, gen_random_uuid(), digest, '' FROM manifests`,
	`INSERT INTO kept_referrers SELECT tenant_id, repo_id, gen_random_uuid(), digest FROM manifests`,
	`INSERT INTO trashed_manifests SELECT tenant_id, repo_id, digest, media_type, size, 1, subject, payload, '[]', '[]', gen_random_uuid(), '', now(), now() + random() * interval '1 day' FROM manifests`,
	`INSERT INTO trashed_blobs SELECT tenant_id, repo_id, manifest, digest FROM manifest_blobs`,
	`INSERT INTO usage_hours (tenant_id, hour) SELECT i % 2000 + 1, i / 2000 FROM generate_series(1, 40000) i`,
	`ANALYZE`,
}

// planner tells the plans of statements in a database with large tables.
type planner struct {
	c *pgx.Conn
}

func newPlanner(t *testing.T) planner {
	t.Helper()
	p := planner{connect(t, migrated(t))}
	p.run(t, `SET session_replication_role = replica`)
	for _, statement := range large {
		p.run(t, statement)
	}
	p.run(t, `SET enable_seqscan = off`) // the shorter way through the smaller tables
	p.run(t, `SET plan_cache_mode = force_generic_plan`)
	return p
}

func (p planner) run(t *testing.T, statement string) {
	t.Helper()
	if _, err := p.c.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

var parameter = regexp.MustCompile(`\$[0-9]+`)

// plan is the one that serves all parameters.
func (p planner) plan(t *testing.T, query string) node {
	t.Helper()
	nulls := map[string]bool{}
	for _, n := range parameter.FindAllString(query, -1) {
		nulls[n] = true
	}
	p.run(t, "PREPARE planned AS "+query)
	defer p.run(t, "DEALLOCATE planned")
	explain := "EXPLAIN (FORMAT JSON, COSTS OFF) EXECUTE planned"
	if len(nulls) > 0 {
		explain += "(" + strings.TrimSuffix(strings.Repeat("NULL,", len(nulls)), ",") + ")"
	}
	var plans []struct{ Plan node }
	if err := p.c.QueryRow(t.Context(), explain).Scan(&plans); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return plans[0].Plan
}

// TestStatementsUseIndexes holds every statement to an index for each table
// that it reads.
func TestStatementsUseIndexes(t *testing.T) {
	p := newPlanner(t)
	for name, query := range statements(t) {
		if walker(name) {
			continue
		}
		for _, step := range p.plan(t, query).walksAll() {
			t.Errorf("%s: %s", name, step)
		}
	}
}

// TestR51_TimeIsTheServers: a node whose clock is wrong decides nothing by it.
// Statements take the time from berth_now, and no code asks for it, but to tell
// how long something took.
func TestR51_TimeIsTheServers(t *testing.T) {
	own := regexp.MustCompile(`(?i)\b(now\(\)|current_timestamp|localtimestamp|clock_timestamp|statement_timestamp|current_date)`)
	for name, query := range statements(t) {
		if found := own.FindString(query); found != "" {
			t.Errorf("%s goes by %s", name, found)
		}
	}
	for path, file := range metatest.Sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Now" && path != "observe.go" {
				t.Errorf("%s asks for the time of its machine", path)
			}
			return true
		})
	}
}

// TestF7_StatementsAreConstants: what runs on a connection is a name, or a text
// as it stands; it is never put together.
func TestF7_StatementsAreConstants(t *testing.T) {
	// Where each function has its statement.
	argument := map[string]int{
		"queue": 0, "exec": 0, "Queue": 0, "walk": 1, "Exec": 1, "Query": 1, "QueryRow": 1, "ExecContext": 1, "QueryRowContext": 1, "collect": 4,
	}
	calls := 0
	for path, file := range metatest.Sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := ""
			switch f := call.Fun.(type) {
			case *ast.Ident:
				name = f.Name
			case *ast.SelectorExpr:
				name = f.Sel.Name
			}
			at, ok := argument[name]
			if name == "find" {
				if at, ok = 0, true; len(call.Args) > 1 { // the store's has ctx and the tenant before it
					if id, isName := call.Args[0].(*ast.Ident); isName && id.Name == "ctx" {
						at = 2
					}
				}
			}
			if !ok || len(call.Args) <= at {
				return true
			}
			calls++
			switch arg := call.Args[at].(type) {
			case *ast.Ident, *ast.BasicLit, *ast.SelectorExpr:
			default:
				t.Errorf("%s: %s is given a statement that is a %T", path, name, arg)
			}
			return true
		})
	}
	if calls < 80 {
		t.Errorf("only %d calls found", calls)
	}
}
