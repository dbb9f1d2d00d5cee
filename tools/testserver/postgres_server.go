package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/await"
)

// PostgresServer is a PostgreSQL server of one test's own, which the test may
// stop, kill, pause and fail over. Unlike the server of Postgres it is durable,
// as one in production is, and it has autovacuum. Its methods fail the test where
// they fail; they are for the test's own goroutine, one at a time. The server
// goes with the test.
type PostgresServer struct {
	t      testing.TB
	bin    string
	who    account
	dir    string
	port   int
	server *process // nil while it is stopped
	paused []int    // its stopped processes
}

// StartPostgres starts a server with one empty database.
func StartPostgres(t testing.TB) *PostgresServer {
	t.Helper()
	s := newPostgresServer(t)
	s.must(postgresFiles(s.who, s.dir))
	s.Start()
	s.Exec(`CREATE DATABASE berth TEMPLATE template0`)
	return s
}

func newPostgresServer(t testing.TB) *PostgresServer {
	t.Helper()
	s := &PostgresServer{t: t}
	var err error
	s.bin, err = findPostgres()
	s.must(err)
	s.who, err = serverAccount("postgres")
	s.must(err)
	s.dir, err = s.who.directory("berth-postgres")
	s.must(err)
	s.port, err = freePort()
	s.must(err)
	t.Cleanup(func() {
		s.Kill()
		s.must(os.RemoveAll(s.dir))
	})
	return s
}

func (s *PostgresServer) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// Dir is the server's data directory, with its configuration files.
func (s *PostgresServer) Dir() string { return filepath.Join(s.dir, "data") }

// Addr is where the server listens, host:port, also after a restart.
func (s *PostgresServer) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// URL names the server's database and a superuser without a password. To name
// several servers, put their Addrs in its place, with commas.
func (s *PostgresServer) URL() string { return s.url("berth") }

func (s *PostgresServer) url(database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", s.Addr(), database)
}

// Exec runs a statement as the superuser, in a database beside the one of URL.
func (s *PostgresServer) Exec(statement string) {
	s.t.Helper()
	s.must(s.asSuperuser(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, statement)
		return err
	}))
}

func (s *PostgresServer) asSuperuser(f func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, c), c.Close(ctx))
}

// Start starts the server where it is stopped, and waits until it takes
// connections: after a crash, until it has recovered.
func (s *PostgresServer) Start() {
	s.t.Helper()
	var err error
	s.server, err = start(s.who.command(s.dir, syscall.SIGKILL, filepath.Join(s.bin, "postgres"), "-D", s.Dir(), "-p", strconv.Itoa(s.port),
		"-k", s.dir, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300", "-c", "wal_keep_size=256MB", "-c", "jit=off"),
		"database system is ready to accept") // "connections", or a standby's "read-only connections"
	s.must(err)
}

// StopImmediate ends the server as pg_ctl -m immediate does: without a
// checkpoint, each connection with a last word.
func (s *PostgresServer) StopImmediate() {
	s.t.Helper()
	s.end(syscall.SIGQUIT)
}

// Kill ends all processes of the server by SIGKILL, at once and without a word.
// A server that is not running stays as it is.
func (s *PostgresServer) Kill() {
	s.t.Helper()
	s.end(syscall.SIGKILL)
}

// Restart is StopImmediate and Start.
func (s *PostgresServer) Restart() {
	s.t.Helper()
	s.StopImmediate()
	s.Start()
}

func (s *PostgresServer) end(how syscall.Signal) {
	s.t.Helper()
	if s.server == nil {
		return
	}
	s.Resume()
	all := s.processes()
	s.must(s.server.stop(how))
	if how == syscall.SIGKILL {
		s.must(signal(all, how)) // the others would continue for a while
	}
	s.server = nil
	await.True(s.t, patience, "the end of the server's processes", func() bool {
		return !slices.ContainsFunc(all, func(pid int) bool { state, _ := processState(pid); return state != "" && state != "Z" })
	})
}

// Pause stops all processes of the server by SIGSTOP: connections stay, new
// ones are taken by the kernel, and nothing answers.
func (s *PostgresServer) Pause() {
	s.t.Helper()
	// The first one makes the others, so none is missed.
	s.must(s.server.Signal(syscall.SIGSTOP))
	s.paused = s.processes()
	s.must(signal(s.paused, syscall.SIGSTOP))
}

// Resume lets a paused server continue; others stay as they are.
func (s *PostgresServer) Resume() {
	s.t.Helper()
	s.must(signal(s.paused, syscall.SIGCONT))
	s.paused = nil
}

// processes are the server's first process and those that it made.
func (s *PostgresServer) processes() []int {
	s.t.Helper()
	first := s.server.PID()
	all := []int{first}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	s.must(err)
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		s.must(err)
		if _, parent := processState(pid); parent == first {
			all = append(all, pid)
		}
	}
	return all
}

// signal sends a signal to those processes that are still there.
func signal(pids []int, how syscall.Signal) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, how); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// processState is the state of a process, as proc(5) names it, and its parent;
// nothing when it is gone.
func processState(pid int) (string, int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	var state string
	var parent int
	_, rest, _ := strings.Cut(string(text), ") ") // pid (name) state parent …
	if _, err := fmt.Sscan(rest, &state, &parent); err != nil {
		return "", 0
	}
	return state, parent
}

// Copy is a stopped server with all that this one holds now, as one restored
// from a backup (pg_basebackup).
func (s *PostgresServer) Copy() *PostgresServer {
	s.t.Helper()
	c := newPostgresServer(s.t)
	out, err := s.who.command(s.dir, syscall.SIGKILL, filepath.Join(s.bin, "pg_basebackup"), "-h", "127.0.0.1", "-p", strconv.Itoa(s.port),
		"-U", "postgres", "-D", c.Dir(), "-X", "stream", "-c", "fast", "--no-sync").CombinedOutput()
	if err != nil {
		s.t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	return c
}

// Standby is a running server that follows this one. With sync, this one
// acknowledges a transaction only once the standby has it on disk, too.
func (s *PostgresServer) Standby(sync bool) *PostgresServer {
	s.t.Helper()
	c := s.Copy()
	c.configure(fmt.Sprintf("primary_conninfo = 'host=127.0.0.1 port=%d user=postgres'", s.port))
	s.must(os.WriteFile(filepath.Join(c.Dir(), "standby.signal"), nil, 0o600))
	c.Start()
	if sync {
		s.Exec(`ALTER SYSTEM SET synchronous_standby_names = '*'`)
		s.Exec(`SELECT pg_reload_conf()`)
		s.await("a synchronous standby", `SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')`)
	}
	s.AwaitStandby()
	return c
}

// AwaitStandby waits until a standby of this server has on disk what this one
// has.
func (s *PostgresServer) AwaitStandby() {
	s.t.Helper()
	s.await("the standby", `SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming' AND flush_lsn >= pg_current_wal_flush_lsn())`)
}

// await waits until a query answers true.
func (s *PostgresServer) await(what, query string) {
	s.t.Helper()
	await.True(s.t, patience, what, func() bool {
		var done bool
		s.must(s.asSuperuser(func(ctx context.Context, c *pgx.Conn) error { return c.QueryRow(ctx, query).Scan(&done) }))
		return done
	})
}

// Promote makes a standby the primary.
func (s *PostgresServer) Promote() {
	s.t.Helper()
	s.Exec(`SELECT pg_promote()`)
}
