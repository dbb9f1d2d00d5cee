package pgmeta

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// saved is a state of a database to which it can be brought back at once.
type saved struct {
	conn   *pgx.Conn // of its own, on which no trigger runs and no key is checked
	tables []string
	rows   digests
	digest string // the statement that makes digests
	counts string // the statement that brings the sequences back
	times  int
}

// digests are of the rows of each table. Nil, they are not known.
type digests []string

// tableColumns are the tables, each with its columns but the ones that count calls or are
// drawn.
const tableColumns = `
SELECT table_name, string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
  FROM information_schema.columns
 WHERE table_schema = 'public' AND (table_name, column_name) NOT IN (('events', 'id'), ('events', 'op'))
   AND table_name IN (SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'goose_db_version')
 GROUP BY table_name ORDER BY table_name`

// save remembers the rows of all tables.
func save(t testing.TB, url string) *saved {
	t.Helper()
	s := &saved{conn: connect(t, url)}
	s.run(t, `SET session_replication_role = replica`)
	s.run(t, `CREATE SCHEMA saved`)
	rows, err := s.conn.Query(t.Context(), tableColumns)
	if err != nil {
		t.Fatal(err)
	}
	var name, columns string
	var each []string
	_, err = pgx.ForEachRow(rows, []any{&name, &columns}, func() error {
		s.tables = append(s.tables, name)
		each = append(each, fmt.Sprintf(`(SELECT coalesce(md5(string_agg(line, E'\n' ORDER BY line)), '') FROM (SELECT ROW(%s)::text FROM %s) AS rows (line))`, columns, name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range s.tables {
		s.run(t, fmt.Sprintf(`CREATE TABLE saved.%s AS TABLE %[1]s`, table))
		s.run(t, fmt.Sprintf(`CREATE FUNCTION saved.%s_back() RETURNS void LANGUAGE plpgsql AS
			$$ BEGIN DELETE FROM %[1]s; INSERT INTO %[1]s OVERRIDING SYSTEM VALUE TABLE saved.%[1]s; END $$`, table))
	}
	s.counts = s.sequences(t)
	s.digest = `SELECT ARRAY[` + strings.Join(each, ", ") + `]`
	s.rows = s.state(t)
	return s
}

// state is what the rows are now.
func (s *saved) state(t testing.TB) digests {
	t.Helper()
	var d digests
	if err := s.conn.QueryRow(t.Context(), s.digest).Scan(&d); err != nil {
		t.Fatal(err)
	}
	return d
}

// back brings the database back from a state. Deleted rows would slow it down more and
// more.
func (s *saved) back(t testing.TB, from digests) {
	t.Helper()
	if s.times++; s.times%100 == 0 {
		s.run(t, "VACUUM "+strings.Join(s.tables, ", "))
	}
	var calls []string
	for i, table := range s.tables {
		if from == nil || from[i] != s.rows[i] {
			calls = append(calls, "saved."+table+"_back()")
		}
	}
	s.run(t, s.counts)
	if len(calls) > 0 {
		s.run(t, "SELECT "+strings.Join(calls, ", "))
	}
}

// sequences makes the statement that lets them continue from here: what is made in each
// meeting has the same ids.
func (s *saved) sequences(t testing.TB) string {
	t.Helper()
	var statement string
	err := s.conn.QueryRow(t.Context(), `
SELECT 'SELECT ' || string_agg(format('setval(%L, %s, %L)', schemaname || '.' || sequencename, coalesce(last_value, 1), last_value IS NOT NULL), ', ')
  FROM pg_sequences WHERE schemaname = 'public' AND sequencename <> 'goose_db_version_id_seq'`).Scan(&statement)
	if err != nil {
		t.Fatal(err)
	}
	return statement
}

func (s *saved) run(t testing.TB, statement string) {
	t.Helper()
	if _, err := s.conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
