package testserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/await"
)

// archive is where the server keeps its log for RestoreTo.
func (s *PostgresServer) archive() string { return filepath.Join(s.dir, "archive") }

// Archive restarts the server with an archive of its log.
func (s *PostgresServer) Archive() {
	s.t.Helper()
	out, err := s.who.command(s.dir, syscall.SIGKILL, "mkdir", s.archive()).CombinedOutput()
	if err != nil {
		s.t.Fatalf("mkdir: %v\n%s", err, out)
	}
	to := s.archive() + "/%f"
	s.configure(`archive_mode = on`, fmt.Sprintf(`archive_command = 'cp %%p %s.part && mv %s.part %s'`, to, to, to))
	s.Restart()
}

// configure writes settings that a restart reads.
func (s *PostgresServer) configure(settings ...string) {
	s.t.Helper()
	config, err := os.OpenFile(filepath.Join(s.Dir(), "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	s.must(err)
	for _, one := range settings {
		if _, err := fmt.Fprintln(config, one); err != nil {
			s.t.Error(err)
		}
	}
	s.must(config.Close())
}

// AwaitArchive waits until the archive has what this server has written.
func (s *PostgresServer) AwaitArchive() {
	s.t.Helper()
	var last string
	s.must(s.asSuperuser(func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, `SELECT pg_walfile_name(pg_switch_wal())`).Scan(&last)
	}))
	await.True(s.t, patience, "the archive of "+last, func() bool {
		_, err := os.Stat(filepath.Join(s.archive(), last))
		return err == nil
	})
}

// RestoreTo is a running server, which goes with t, with what this one had when a restore
// point was made (pg_create_restore_point). base is a Copy of before, and the archive has
// the rest. It may be called at any time, and several times at once.
func (s *PostgresServer) RestoreTo(t testing.TB, base *PostgresServer, point string) *PostgresServer {
	t.Helper()
	c := newPostgresServer(t)
	if out, err := s.who.command(s.dir, syscall.SIGKILL, "cp", "-a", base.Dir(), c.dir).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	c.configure(`archive_mode = off`, fmt.Sprintf(`restore_command = 'cp %s/%%f %%p'`, s.archive()),
		fmt.Sprintf(`recovery_target_name = '%s'`, point), `recovery_target_action = promote`)
	c.must(os.WriteFile(filepath.Join(c.Dir(), "recovery.signal"), nil, 0o600))
	c.Start()
	c.await("the end of the recovery", `SELECT NOT pg_is_in_recovery()`)
	return c
}
