package pgmeta

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// tables is a set of them.
type tables map[string]bool

func (t tables) add(more tables) {
	for name := range more {
		t[name] = true
	}
}

func (t tables) meet(other tables) bool {
	for name := range t {
		if other[name] {
			return true
		}
	}
	return false
}

// footprint is which tables a statement may touch; it may touch fewer.
type footprint struct {
	reads, writes tables
	locks, shares tables // in which it locks rows, for itself or with others
}

func newFootprint() footprint {
	return footprint{reads: tables{}, writes: tables{}, locks: tables{}, shares: tables{}}
}

func (f footprint) add(more footprint) {
	f.reads.add(more.reads)
	f.writes.add(more.writes)
	f.locks.add(more.locks)
	f.shares.add(more.shares)
}

// waits says whether one may wait for a lock of the other.
func (f footprint) waits(other footprint) bool {
	return f.locks.meet(other.locks) || f.locks.meet(other.shares) || f.shares.meet(other.locks)
}

// footprints finds those of statements, by their text and the schema.
type footprints struct {
	tables      tables
	definitions map[string]string // of views and functions
	children    map[string][]reference
	parents     map[string]tables
	triggers    map[string][]trigger
	known       map[string][2]footprint
}

// reference is a foreign key.
type reference struct {
	child       string
	key         []string // the columns that it refers to
	ends, moves bool     // rows of the child follow a row that is deleted, or whose key changes
}

// trigger is a function of a table, which may run at the end of the transaction.
type trigger struct {
	source   string
	deferred bool
}

func newFootprints(t testing.TB, conn *pgx.Conn) *footprints {
	t.Helper()
	f := &footprints{
		tables: tables{}, definitions: map[string]string{}, children: map[string][]reference{},
		parents: map[string]tables{}, triggers: map[string][]trigger{}, known: map[string][2]footprint{},
	}
	each := func(query string, targets []any, do func()) {
		t.Helper()
		rows, err := conn.Query(t.Context(), query)
		if err == nil {
			_, err = pgx.ForEachRow(rows, targets, func() error { do(); return nil })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var name, text string
	each(`SELECT tablename FROM pg_tables WHERE schemaname = 'public'`, []any{&name}, func() { f.tables[name] = true })
	each(`SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'
	UNION ALL SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace`,
		[]any{&name, &text}, func() { f.definitions[name] += " ; " + text })
	var r reference
	each(`SELECT c.confrelid::regclass::text, c.conrelid::regclass::text, c.confdeltype NOT IN ('a', 'r'), c.confupdtype NOT IN ('a', 'r'),
	       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.confrelid AND a.attnum = ANY (c.confkey))
	  FROM pg_constraint c WHERE c.contype = 'f'`,
		[]any{&name, &r.child, &r.ends, &r.moves, &r.key}, func() {
			f.children[name] = append(f.children[name], r)
			if f.parents[r.child] == nil {
				f.parents[r.child] = tables{}
			}
			f.parents[r.child][name] = true
			r.key = nil
		})
	var late trigger
	each(`SELECT g.tgrelid::regclass::text, p.prosrc, g.tginitdeferred FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid WHERE NOT g.tgisinternal`,
		[]any{&name, &late.source, &late.deferred}, func() { f.triggers[name] = append(f.triggers[name], late) })
	return f
}

var (
	words    = regexp.MustCompile(`\w+`)
	dml      = regexp.MustCompile(`(INSERT INTO|UPDATE|DELETE FROM) (\w+)`)
	sets     = regexp.MustCompile(`SET (.*?)( WHERE | FROM | RETURNING |$)`)
	rowLocks = regexp.MustCompile(`FOR (NO KEY UPDATE|UPDATE|KEY SHARE|SHARE)(?: OF (\w+))?`)
	advisory = regexp.MustCompile(`pg_(?:try_)?advisory_xact_lock(_shared)?\b`)
)

// appended and marks are the tables to which rows are only added, each with a key of its own:
// two statements that do so wait for nothing. To marks, triggers add.
const (
	appended = "events"
	marks    = "search_changes"
)

var readsMarks = regexp.MustCompile(`(FROM|UPDATE|JOIN) ` + marks)

// of is what a statement touches, and what the triggers touch that run for it at the end
// of its transaction.
func (f *footprints) of(text string) (footprint, footprint) {
	if known, ok := f.known[text]; ok {
		return known[0], known[1]
	}
	now, end := newFootprint(), newFootprint()
	f.known[text] = [2]footprint{now, end} // a trigger may write to a table whose trigger it is
	whole := f.expand(text)
	for _, word := range words.FindAllString(whole, -1) {
		if f.tables[word] {
			now.reads[word] = true
		}
	}
	for _, change := range dml.FindAllStringSubmatch(whole, -1) {
		if f.tables[change[2]] {
			f.change(now, end, change[1], change[2], whole)
		}
	}
	if strings.HasPrefix(text, "INSERT INTO "+appended) && !strings.Contains(text, "ON CONFLICT") {
		delete(now.locks, appended)
		delete(now.reads, appended)
	}
	if !readsMarks.MatchString(whole) {
		delete(now.locks, marks)
		delete(now.reads, marks)
	}
	for _, lock := range rowLocks.FindAllStringSubmatch(whole, -1) {
		where := now.locks
		if strings.HasSuffix(lock[1], "SHARE") {
			where = now.shares
		}
		where.add(f.named(lock[2], whole, now.reads))
	}
	for _, lock := range advisory.FindAllStringSubmatch(whole, -1) {
		where := now.locks
		if lock[1] != "" {
			where = now.shares
		}
		where["advisory"] = true
	}
	return now, end
}

// expand is a text with the views and functions that it names, and those that they name.
func (f *footprints) expand(text string) string {
	whole, seen := text, map[string]bool{}
	for more := text; more != ""; {
		found := ""
		for _, word := range words.FindAllString(more, -1) {
			if !seen[word] && f.definitions[word] != "" {
				seen[word] = true
				found += f.definitions[word]
			}
		}
		whole, more = whole+found, found
	}
	return strings.Join(strings.Fields(whole), " ")
}

// change adds what a change of rows of a table touches: those that they refer to or that
// refer to them, and what its triggers do.
func (f *footprints) change(now, end footprint, kind, table, text string) {
	now.reads[table], now.writes[table], now.locks[table] = true, true, true
	if kind != "DELETE FROM" {
		now.reads.add(f.parents[table])
		now.shares.add(f.parents[table])
	}
	for _, r := range f.children[table] {
		switch {
		case kind != "DELETE FROM" && !setsKey(text, r.key): // what refers to the row stays
		case kind == "DELETE FROM" && r.ends, kind != "DELETE FROM" && r.moves:
			f.change(now, end, kind, r.child, text)
		default:
			now.reads[r.child], now.shares[r.child] = true, true
		}
	}
	for _, g := range f.triggers[table] {
		runs, later := f.of(g.source)
		if g.deferred {
			end.add(runs)
		} else {
			now.add(runs)
		}
		end.add(later)
	}
}

// setsKey says whether a text may set one of these columns.
func setsKey(text string, key []string) bool {
	for _, set := range sets.FindAllStringSubmatch(text, -1) {
		for _, column := range key {
			if regexp.MustCompile(`\b` + column + `\b`).MatchString(set[1]) {
				return true
			}
		}
	}
	return false
}

// named are the tables with an alias in a text; all of them where it has no such alias.
func (f *footprints) named(alias, text string, all tables) tables {
	if alias == "" {
		return all
	}
	if f.tables[alias] {
		return tables{alias: true}
	}
	named := tables{}
	for _, m := range regexp.MustCompile(`(\w+) (?:AS )?`+alias+`\b`).FindAllStringSubmatch(text, -1) {
		if f.tables[m[1]] {
			named[m[1]] = true
		}
	}
	if len(named) == 0 {
		return all
	}
	return named
}

func (t tables) String() string { return strings.Join(slices.Sorted(maps.Keys(t)), " ") }

func TestFootprints(t *testing.T) {
	f := newFootprints(t, connect(t, migrated(t)))
	for name, c := range map[string]struct{ text, reads, writes, locks, shares, end string }{
		"a select":           {text: `SELECT 1 FROM blobs b JOIN objects o ON o.digest = b.digest`, reads: "blobs objects"},
		"a view":             {text: `SELECT id FROM open_repositories`, reads: "registries repositories tenants"},
		"a lock":             {text: `SELECT 1 FROM blobs b JOIN objects o ON o.digest = b.digest FOR UPDATE OF b`, reads: "blobs objects", locks: "blobs"},
		"a lock with others": {text: `SELECT 1 FROM repositories FOR KEY SHARE`, reads: "repositories", shares: "repositories"},
		"a lock of a number": {text: `SELECT pg_advisory_xact_lock_shared(47, hashint8($1))`, shares: "advisory"},
		"an insert":          {text: `INSERT INTO cache_tags (tenant_id) VALUES ($1)`, reads: "cache_tags manifests", writes: "cache_tags", locks: "cache_tags", shares: "manifests", end: "usage"},
		"an event":           {text: `INSERT INTO events (op) VALUES ($1)`, writes: "events"},
		"an update":          {text: `UPDATE objects SET delete_after = NULL WHERE state = 'D'`, reads: "objects", writes: "objects", locks: "objects"},
		"an update of a key": {text: `UPDATE objects SET state = 'D'`, reads: "blobs objects", writes: "objects", locks: "objects", shares: "blobs"},
		"a delete with children": {
			text:  `DELETE FROM manifests WHERE digest = $1`,
			reads: "cache_tags manifest_blobs manifest_children manifest_pulls manifests tags", writes: "cache_tags manifest_blobs manifest_children manifest_pulls manifests search_changes",
			locks: "cache_tags manifest_blobs manifest_children manifest_pulls manifests", shares: "tags", end: "registry_blobs registry_usage usage",
		},
	} {
		t.Run(name, func(t *testing.T) {
			now, end := f.of(c.text)
			got := []string{now.reads.String(), now.writes.String(), now.locks.String(), now.shares.String(), end.writes.String()}
			if want := []string{c.reads, c.writes, c.locks, c.shares, c.end}; !slices.Equal(got, want) {
				t.Errorf("%q\nwant %q", got, want)
			}
		})
	}
}
