package pgmeta

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/meta/metatest"
)

// stock lends databases with stores over them to the cases of a suite, one after
// another: to empty one takes a tenth of the time that it takes to make one.
type stock struct {
	mu   sync.Mutex
	free []*lent
	all  []*lent
}

// lent is an empty database, and a store with the default options over it.
type lent struct {
	url   string
	store *Store
	clock *clock
	empty string // the statements that empty it
	cases []string

	changed bool // the schema is not what it was
}

var changesSchema = regexp.MustCompile(`\b(CREATE|ALTER|DROP)\b`)

// newStock is for the cases within t. A deadlock of theirs is retried by the store, and
// would go unseen without it.
func newStock(t testing.TB) *stock {
	k := &stock{}
	t.Cleanup(func() {
		for _, l := range k.all {
			if err := l.store.Close(); err != nil {
				t.Error(err)
			}
			if n := deadlocks(t, l.url); n != 0 {
				t.Errorf("%d deadlocks in one of these:\n%s", n, strings.Join(l.cases, "\n"))
			}
		}
	})
	return k
}

// lend lends a database until the end of the case.
func (k *stock) lend(t testing.TB) *lent {
	t.Helper()
	l := k.take(t)
	l.cases = append(l.cases, t.Name())
	l.clock.lend(t)
	t.Cleanup(func() {
		if t.Failed() || l.changed || l.store.quiet.Load() || l.store.closed.Load() {
			return
		}
		mustRun(t, l.store, l.empty)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.free = append(k.free, l)
	})
	return l
}

func (k *stock) take(t testing.TB) *lent {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if last := len(k.free) - 1; last >= 0 {
		l := k.free[last]
		k.free = k.free[:last]
		return l
	}
	l := &lent{url: migrated(t)}
	var err error
	if l.store, err = Open(t.Context(), Options{URL: l.url}); err != nil {
		t.Fatal(err)
	}
	k.all = append(k.all, l)
	l.clock = newClock(t, l.store)
	l.empty = emptying(t, l.store)
	return l
}

// emptying are the statements that delete what was written since the schema was made.
func emptying(t testing.TB, s *Store) string {
	t.Helper()
	names := func(query string) []string {
		rows, err := s.pool.Query(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	statements := "SET LOCAL session_replication_role = replica;"
	for _, table := range names(`SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename NOT IN ('goose_db_version', 'test_clock')`) {
		var filled bool
		name := pgx.Identifier{table}.Sanitize()
		if err := s.pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM "+name+")").Scan(&filled); err != nil {
			t.Fatal(err)
		}
		if filled {
			t.Fatalf("the schema is made with rows in %s: a case that is over would delete them", table)
		}
		statements += fmt.Sprintf("DELETE FROM %s;", name)
	}
	for _, sequence := range names(`SELECT sequencename FROM pg_sequences WHERE schemaname = current_schema() AND sequencename NOT LIKE 'goose%'`) {
		statements += fmt.Sprintf("ALTER SEQUENCE %s RESTART;", pgx.Identifier{sequence}.Sanitize())
	}
	return statements
}

// open is the harness of one case.
func (k *stock) open(t testing.TB, o metatest.Options) metatest.Harness {
	l := k.lend(t)
	s := l.store
	if o != (metatest.Options{}) {
		s = open(t, Options{URL: l.url, Limits: o.Limits, MaxStaged: o.MaxStaged, MaxSessions: o.MaxSessions})
	}
	changing := func(before string) func(string) error {
		return func(statements string) error {
			l.changed = l.changed || changesSchema.MatchString(statements)
			return run(s, before+statements)
		}
	}
	return metatest.Harness{Store: s, Advance: l.clock.Advance, Now: l.clock.Now, SQL: metatest.SQL{
		Exec:   changing(""),
		Break:  changing(`SET LOCAL session_replication_role = replica; `),
		Steps:  steps(t),
		Broken: broken,
	}}
}
