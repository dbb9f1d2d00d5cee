package pgmeta

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/tools/testserver"
)

func TestMain(m *testing.M) {
	if task := os.Getenv(nodeEnv); task != "" {
		runNode(task)
		return
	}
	testserver.Main(m)
}

// migrated is the URL of a database with an empty, current schema.
func migrated(t testing.TB) string {
	t.Helper()
	return testserver.PostgresFrom(t, "pgmeta", Migrate)
}

// open opens an empty store, or the one at o.URL, and closes it with the test.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	if o.URL == "" {
		o.URL = migrated(t)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// mustRun runs a statement that no store would.
func mustRun(t testing.TB, s *Store, statement string, args ...any) {
	t.Helper()
	if err := run(s, statement, args...); err != nil {
		t.Fatal(err)
	}
}

func run(s *Store, statement string, args ...any) error {
	_, err := s.pool.Exec(context.Background(), statement, args...)
	return err
}

// clock is what berth_now answers in a database once it was set there.
type clock struct {
	t     testing.TB
	store *Store

	mu  sync.Mutex
	now time.Time
}

// newClock stops the store's time.
func newClock(t testing.TB, s *Store) *clock {
	t.Helper()
	c := &clock{store: s}
	mustRun(t, s, `CREATE TABLE test_clock AS SELECT now()`)
	mustRun(t, s, `CREATE OR REPLACE FUNCTION berth_now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now FROM test_clock'`)
	c.lend(t)
	return c
}

// lend sets the clock to where every test begins, and is for t from now on.
func (c *clock) lend(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t, c.now = t, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	mustRun(t, c.store, `UPDATE test_clock SET now = $1`, c.now)
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	mustRun(c.t, c.store, `UPDATE test_clock SET now = $1`, c.now)
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// awaitLock waits until a statement in the database waits for a lock; what says whose.
func awaitLock(t testing.TB, s *Store, what string) {
	t.Helper()
	await.True(t, time.Minute, what, func() bool {
		var waits bool
		err := s.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waits)
		return err == nil && waits
	})
}
