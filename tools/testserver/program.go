package testserver

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/tools/internal/server"
)

// NewPostgres starts a durable server with one empty database, whose URL it
// returns, for a program that is not a test. It goes with Stop.
func NewPostgres(ctx context.Context) (string, error) {
	port, err := runPostgres()
	if err != nil {
		return "", err
	}
	p := postgres{port: port}
	admin, err := pgx.Connect(ctx, p.url("postgres"))
	if err != nil {
		return "", err
	}
	_, err = admin.Exec(ctx, `CREATE DATABASE berth TEMPLATE template0`)
	return p.url("berth"), errors.Join(err, admin.Close(ctx))
}

// NewS3 starts a server with one empty bucket, whose URL it returns, for a program
// that is not a test. It goes with Stop.
func NewS3() (string, error) {
	server, err := startS3()
	if err != nil {
		return "", err
	}
	address, _, err := server.bucket()
	return address, err
}

// NewRedis starts an empty server, whose URL it returns, for a program that is not a
// test. It goes with Stop.
func NewRedis() (string, error) {
	s, err := newRedis()
	if err != nil {
		return "", err
	}
	atStop(func() error { return os.RemoveAll(s.dir) })
	if s.server, err = s.run(); err != nil {
		return "", err
	}
	atStop(func() error { return s.server.stop(syscall.SIGKILL) })
	return s.URL(), nil
}

// Program is the path of a program that tools/install installs; the test fails
// where it is missing.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := findProgram(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Run starts a program that a test needs, and returns what kills it. It is killed at
// the end of the test at the latest, and where this process ends before.
func Run(t testing.TB, cmd *exec.Cmd) func() {
	t.Helper()
	p, err := server.Begin(cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	kill := func() { _ = p.Kill() } // it may have ended
	t.Cleanup(kill)
	return kill
}
