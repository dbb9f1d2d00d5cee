package pgmeta

import (
	"context"
	"io/fs"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/migrations"
	"github.com/berth-registry/berth/pkg/meta/metatest"
)

func TestConformance(t *testing.T) { metatest.Run(t, newStock(t).open) }

// steps are the migrations.
func steps(t testing.TB) fs.FS {
	t.Helper()
	steps, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

// wantDeadlocks says how many deadlocks there must have been; see deadlocks.
func wantDeadlocks(t testing.TB, url string, want int) {
	t.Helper()
	if n := deadlocks(t, url); n != want {
		t.Errorf("%d deadlocks; want %d", n, want)
	}
}

// deadlocks says how many deadlocks there were in a database, which is
// not used any more: a session's statistics are complete when it has ended.
func deadlocks(t testing.TB, url string) int {
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
	if err := c.QueryRow(ctx, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&deadlocks); err != nil {
		t.Fatal(err)
	}
	return deadlocks
}
