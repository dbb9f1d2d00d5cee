package testserver_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/tools/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func TestDatabasesAreApart(t *testing.T) {
	prepared := 0
	prepare := func(ctx context.Context, url string) error {
		prepared++
		c, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		_, err = c.Exec(ctx, `CREATE TABLE notes (n int)`)
		return err
	}
	for range 2 {
		c := connect(t, testserver.PostgresFrom(t, "notes", prepare))
		var n int
		if err := c.QueryRow(t.Context(), `INSERT INTO notes SELECT count(*) FROM notes RETURNING n`).Scan(&n); err != nil || n != 0 {
			t.Errorf("a fresh copy has %d rows, %v", n, err)
		}
	}
	if prepared != 1 {
		t.Errorf("the template was prepared %d times", prepared)
	}
	var tables int
	err := connect(t, testserver.Postgres(t)).QueryRow(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`).Scan(&tables)
	if err != nil || tables != 0 {
		t.Errorf("an empty database has %d tables, %v", tables, err)
	}
}
