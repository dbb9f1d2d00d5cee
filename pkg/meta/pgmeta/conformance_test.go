package pgmeta

import (
	"context"
	"io/fs"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/migrations"
	"github.com/berth-registry/berth/pkg/meta/metatest"
)

func TestConformance(t *testing.T) { metatest.Run(t, harness) }

func harness(t testing.TB, o metatest.Options) metatest.Harness {
	url := migrated(t)
	// A deadlock is retried, and would go unseen otherwise.
	t.Cleanup(func() { wantDeadlocks(t, url, 0) }) // after the store was closed
	s := open(t, Options{URL: url, Limits: o.Limits, MaxStaged: o.MaxStaged, MaxSessions: o.MaxSessions})
	c := newClock(t, s)
	steps, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	return metatest.Harness{Store: s, Advance: c.Advance, Now: c.Now, SQL: metatest.SQL{
		Exec: func(statements string) error { return run(s, statements) },
		Break: func(statements string) error {
			return run(s, `SET LOCAL session_replication_role = replica; `+statements)
		},
		Steps:  steps,
		Broken: broken,
	}}
}

// wantDeadlocks says how many deadlocks there were in a database, which is
// not used any more: a session's statistics are complete when it has ended.
func wantDeadlocks(t testing.TB, url string, want int) {
	t.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	for sessions := 1; sessions > 0; {
		err := c.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&sessions)
		if err != nil {
			t.Fatal(err)
		}
	}
	var deadlocks int
	if err := c.QueryRow(ctx, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&deadlocks); err != nil || deadlocks != want {
		t.Errorf("%d deadlocks, %v; want %d", deadlocks, err, want)
	}
}
