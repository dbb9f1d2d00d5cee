package testserver_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/tools/testserver"
)

// count is how many notes a server has, or its error.
func count(t *testing.T, url string) (int, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, err
	}
	defer c.Close(context.Background())
	var n int
	err = c.QueryRow(ctx, `SELECT count(*) FROM notes`).Scan(&n)
	return n, err
}

func wantNotes(t *testing.T, s *testserver.PostgresServer, want int) {
	t.Helper()
	if n, err := count(t, s.URL()); err != nil || n != want {
		t.Errorf("%d notes, %v; want %d", n, err, want)
	}
}

func note(t *testing.T, s *testserver.PostgresServer) {
	t.Helper()
	if _, err := connect(t, s.URL()).Exec(t.Context(), `CREATE TABLE IF NOT EXISTS notes (n int); INSERT INTO notes VALUES (1)`); err != nil {
		t.Fatal(err)
	}
}

func TestPostgresServerKeepsWhatItAcknowledged(t *testing.T) {
	s := testserver.StartPostgres(t)
	for setting, want := range map[string]string{"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "autovacuum": "on"} {
		var got string
		if err := connect(t, s.URL()).QueryRow(t.Context(), `SELECT current_setting($1)`, setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v", setting, got, err)
		}
	}
	note(t, s)
	s.Restart()
	wantNotes(t, s, 1)
	s.Kill()
	if _, err := count(t, s.URL()); err == nil {
		t.Error("a killed server answers")
	}
	s.Start()
	wantNotes(t, s, 1)
	s.Pause()
	if _, err := count(t, s.URL()); err == nil {
		t.Error("a paused server answers")
	}
	s.Resume()
	wantNotes(t, s, 1)
}

func TestPostgresServerCopies(t *testing.T) {
	s := testserver.StartPostgres(t)
	note(t, s)
	c := s.Copy()
	standby := s.Standby(true)
	note(t, s)
	wantNotes(t, s, 2)
	s.Kill()
	standby.Promote()
	note(t, standby)
	wantNotes(t, standby, 3)
	c.Start()
	wantNotes(t, c, 1)
}

func TestPostgresServerIsRestoredToAPoint(t *testing.T) {
	s := testserver.StartPostgres(t)
	s.Archive()
	note(t, s)
	base := s.Copy()
	for _, point := range []string{"second", "third"} {
		note(t, s)
		s.Exec(`SELECT pg_create_restore_point('` + point + `')`)
	}
	note(t, s)
	s.AwaitArchive()
	wantNotes(t, s.RestoreTo(t, base, "second"), 2)
	wantNotes(t, s.RestoreTo(t, base, "third"), 3)
	wantNotes(t, s, 4)
}
