package testserver

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
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
