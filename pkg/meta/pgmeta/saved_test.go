package pgmeta

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// saved is a state of a database to which it can be brought back at once.
type saved struct {
	store   *Store
	restore string
	vacuum  string
	times   int
}

// save remembers the rows of all tables.
func save(t testing.TB, s *Store) *saved {
	t.Helper()
	mustRun(t, s, `CREATE SCHEMA saved`)
	rows, err := s.pool.Query(t.Context(), `SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'goose_db_version'`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("SET LOCAL session_replication_role = replica;")
	for i, table := range tables {
		name := pgx.Identifier{table}.Sanitize()
		var filled bool
		if err := s.pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM "+name+")").Scan(&filled); err != nil {
			t.Fatal(err)
		}
		b.WriteString("DELETE FROM " + name + ";")
		if filled {
			mustRun(t, s, "CREATE TABLE saved."+name+" AS TABLE "+name)
			b.WriteString("INSERT INTO " + name + " OVERRIDING SYSTEM VALUE TABLE saved." + name + ";")
		}
		tables[i] = name
	}
	return &saved{store: s, restore: b.String(), vacuum: "VACUUM " + strings.Join(tables, ", ")}
}

// back brings the database back. Deleted rows would slow it down more and more.
func (s *saved) back(t testing.TB) {
	t.Helper()
	if s.times++; s.times%100 == 0 {
		mustRun(t, s.store, s.vacuum)
	}
	mustRun(t, s.store, s.restore)
}
