package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// postgres is the server of this process and the databases that were made in it.
type postgres struct {
	port int

	mu        sync.Mutex // one CREATE DATABASE at a time
	admin     *pgx.Conn
	strategy  string // of copies
	made      int
	templates map[string]error // by name: whether preparing it failed
}

var thePostgres = sync.OnceValues(startPostgres)

// Postgres makes an empty database for the test and returns its URL, which
// names a superuser without a password. The database goes with the server, since
// dropping one takes longer than making one.
func Postgres(t testing.TB) string {
	t.Helper()
	return database(t, "template0", nil)
}

// PostgresFrom makes a database like Postgres, as a copy of a template that
// prepare fills, once per process and name.
func PostgresFrom(t testing.TB, template string, prepare func(ctx context.Context, url string) error) string {
	t.Helper()
	return database(t, template, prepare)
}

func database(t testing.TB, template string, prepare func(ctx context.Context, url string) error) string {
	t.Helper()
	p, err := thePostgres()
	if err != nil {
		t.Fatal(err)
	}
	name, err := p.create(template, prepare)
	if err != nil {
		t.Fatalf("cannot make a database: %v", err)
	}
	return p.url(name)
}

func (p *postgres) url(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", p.port, database)
}

func (p *postgres) create(template string, prepare func(ctx context.Context, url string) error) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx := context.Background()
	copyOf := func(from, to string) error {
		_, err := p.admin.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{to}.Sanitize()+" TEMPLATE "+pgx.Identifier{from}.Sanitize()+p.strategy)
		return err
	}
	if prepare != nil {
		err, prepared := p.templates[template]
		if !prepared {
			if err = copyOf("template0", template); err == nil {
				err = prepare(ctx, p.url(template))
			}
			p.templates[template] = err
		}
		if err != nil {
			return "", fmt.Errorf("template %s: %w", template, err)
		}
	}
	p.made++
	name := "test" + strconv.Itoa(p.made)
	return name, copyOf(template, name)
}

// findPostgres is the directory of the server's programs, the newest version first.
func findPostgres() (string, error) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	slices.Sort(dirs)
	slices.Reverse(dirs)
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range dirs {
		_, errInit := os.Stat(filepath.Join(dir, "initdb"))
		_, errServer := os.Stat(filepath.Join(dir, "postgres"))
		if errInit == nil && errServer == nil {
			return dir, nil
		}
	}
	return "", errors.New("this test needs PostgreSQL: run tools/install deb:postgresql")
}

func startPostgres() (*postgres, error) {
	// A crash of the server loses nothing without fsync; only one of the machine does.
	port, err := runPostgres("-c", "max_connections=300", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off")
	if err != nil {
		return nil, err
	}
	p := &postgres{port: port, templates: map[string]error{}}
	if p.admin, err = pgx.Connect(context.Background(), p.url("postgres")); err != nil {
		return nil, err
	}
	// Copying files takes a third of the time of writing a log of them; before version 15
	// there is no other way.
	version, _, _ := strings.Cut(p.admin.PgConn().ParameterStatus("server_version"), ".")
	if major, err := strconv.Atoi(version); err == nil && major >= 15 {
		p.strategy = " STRATEGY FILE_COPY"
	}
	return p, nil
}

// runPostgres starts a new server that goes with Stop, and returns its port.
func runPostgres(settings ...string) (int, error) {
	bin, err := findPostgres()
	if err != nil {
		return 0, err
	}
	who, err := serverAccount("postgres")
	if err != nil {
		return 0, err
	}
	dir, err := who.directory("berth-postgres")
	if err != nil {
		return 0, err
	}
	atStop(func() error { return os.RemoveAll(dir) })
	if err := postgresFiles(who, dir); err != nil {
		return 0, err
	}
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	args := []string{"-D", filepath.Join(dir, "data"), "-p", strconv.Itoa(port), "-k", dir, "-c", "listen_addresses=127.0.0.1", "-c", "jit=off"}
	server, err := start(who.command(dir, syscall.SIGQUIT, filepath.Join(bin, "postgres"), append(args, settings...)...),
		"database system is ready to accept connections")
	if err != nil {
		return 0, err
	}
	// SIGINT is PostgreSQL's fast shutdown.
	atStop(func() error { return server.stop(syscall.SIGINT) })
	return port, nil
}
