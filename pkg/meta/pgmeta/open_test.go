package pgmeta

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/tools/testserver"
)

func TestManyNodesStartAtOnce(t *testing.T) {
	url := testserver.Postgres(t)
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			s, err := Open(t.Context(), Options{URL: url})
			if err == nil {
				err = s.Close()
			}
			errs[i] = err
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefusesANewerSchema(t *testing.T) {
	url := migrated(t)
	c := connect(t, url)
	if _, err := c.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Options{URL: url})
	if err == nil || !strings.Contains(err.Error(), "meta: the database has schema version 9999, newer than this program's") {
		t.Fatalf("Open of a newer schema: %v", err)
	}
}

// TestR18_OpenSaysWhatIsWrong with a sentence that names the setting and never
// holds the password.
func TestR18_OpenSaysWhatIsWrong(t *testing.T) {
	server := testserver.StartPostgres(t)
	if err := Migrate(t.Context(), server.URL()); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`CREATE DATABASE empty`,
		`CREATE DATABASE readonly`,
		`ALTER DATABASE readonly SET default_transaction_read_only = on`,
		`CREATE ROLE berth LOGIN PASSWORD 'right'`,
		`COPY (SELECT 'host all berth 127.0.0.1/32 scram-sha-256' UNION ALL SELECT 'host all postgres 127.0.0.1/32 trust') TO '` + filepath.Join(server.Dir(), "pg_hba.conf") + `'`,
		`SELECT pg_reload_conf()`,
	} {
		server.Exec(statement)
	}
	asBerth := strings.NewReplacer("postgres@", "berth:hunter2@")
	withPassword := strings.NewReplacer("postgres@", "berth:right@")
	for name, c := range map[string]struct{ url, want string }{
		"nothing there":      {"postgres://berth:hunter2@127.0.0.1:1/berth?sslmode=disable", "meta: the server cannot be reached"},
		"nothing at two":     {"postgres://berth:hunter2@127.0.0.1:1,127.0.0.1:2/berth?sslmode=disable", "127.0.0.1:2"},
		"no such host":       {"postgres://berth:hunter2@host.invalid/berth", "meta: the server cannot be reached"},
		"no port":            {"postgres://berth:hunter2@127.0.0.1:port/berth", "meta: it is not of the form postgres://"},
		"another scheme":     {"mysql://berth:hunter2@127.0.0.1/berth", "meta: it is not of the form postgres://"},
		"unknown option":     {"postgres://berth:hunter2@127.0.0.1/berth?sslmode=always", "sslmode"},
		"bare slash":         {"postgres://berth:1/hunter2@127.0.0.1/berth", "meta: it is not of the form postgres://"},
		"bare percent":       {"postgres://berth:%hunter2@127.0.0.1/berth", "percent-encoded"},
		"text in statements": {server.URL() + "&default_query_exec_mode=simple_protocol", "leave it out"},
		"may lose pushes":    {server.URL() + "&synchronous_commit=off", "meta: its URL sets synchronous_commit"},
		"wrong password":     {asBerth.Replace(server.URL()), "meta: the server does not let this user in"},
		"no such user":       {strings.Replace(server.URL(), "postgres@", "nobody:hunter2@", 1), "meta: the server does not let this user in"},
		"no such database":   {strings.Replace(server.URL(), "/berth?", "/other?", 1), "meta: the database does not exist"},
		"may not migrate":    {withPassword.Replace(strings.Replace(server.URL(), "/berth?", "/empty?", 1)), "meta: this user may not do what is needed"},
		"may not read":       {withPassword.Replace(server.URL()), "meta: this user may not do what is needed"},
		"takes no writes":    {strings.Replace(server.URL(), "/berth?", "/readonly?", 1), "meta: no server to write to"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			s, err := Open(t.Context(), Options{URL: c.url})
			if err == nil {
				t.Fatal(errors.Join(errors.New("it opened"), s.Close()))
			}
			if text := err.Error(); !strings.HasPrefix(text, "meta: ") || !strings.Contains(text, c.want) ||
				strings.Contains(text, "hunter2") || strings.Contains(text, "\n") {
				t.Errorf("%s; want %q", text, c.want)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestF3_NodesNeedNoRightToChangeTheSchema: the schema's owner migrates, and
// nodes run as a user that reads and writes rows.
func TestF3_NodesNeedNoRightToChangeTheSchema(t *testing.T) {
	url := migrated(t)
	owner, role := connect(t, url), "node"+digestHex(url)
	for _, statement := range []string{
		`CREATE ROLE ` + role + ` LOGIN`,
		`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ` + role,
		`REVOKE INSERT, UPDATE, DELETE ON goose_db_version FROM ` + role,
	} {
		if _, err := owner.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	s, r := filled(t, Options{URL: strings.Replace(url, "postgres@", role+"@", 1)})
	if err := tryPushImage(s, r, "by a node"); err != nil {
		t.Errorf("a push: %v", err)
	}
	if err := s.DeleteRepository(t.Context(), meta.Cause{Op: uuid.New()}, r); err != nil {
		t.Errorf("a deletion: %v", err)
	}
	for _, phase := range []func(context.Context, int) (int, error){s.ReapUploads, s.PurgeDeleted, s.UnlinkBlobs, s.DropBlobs} {
		if _, err := phase(t.Context(), 10); err != nil {
			t.Errorf("collection: %v", err)
		}
	}
	for _, statement := range []string{
		`CREATE TABLE mine (n int)`,
		`CREATE TEMP TABLE mine AS SELECT * FROM pg_authid`,
		`CREATE SCHEMA mine`,
		`CREATE INDEX ON tags (version)`,
		`CREATE OR REPLACE FUNCTION berth_now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now()'`,
		`CREATE ROLE mine`,
		`CREATE EXTENSION dblink`,
		`ALTER TABLE blobs DROP CONSTRAINT blobs_pkey CASCADE`,
		`ALTER TABLE blobs ADD COLUMN mine int`,
		`ALTER TABLE objects DISABLE TRIGGER ALL`,
		`ALTER TABLE tags RENAME TO labels`,
		`ALTER ROLE ` + role + ` SUPERUSER`,
		`ALTER SYSTEM SET fsync = off`,
		`SET session_replication_role = replica`,
		`TRUNCATE blobs CASCADE`,
		`DROP TABLE events`,
		`DROP VIEW open_repositories`,
		`DROP FUNCTION berth_now()`,
		`DELETE FROM goose_db_version`,
		`GRANT ALL ON tags TO PUBLIC`,
		`COPY tags TO '/dev/null'`,
		`COPY tags FROM PROGRAM 'true'`,
		`SELECT pg_read_file('PG_VERSION')`,
		`SELECT rolpassword FROM pg_authid`,
	} {
		// What is not an error only warns and does nothing, as GRANT does.
		if err := run(s, statement); code(err) != "42501" && !(err == nil && strings.HasPrefix(statement, "GRANT")) {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

func TestR18_ServersThatMayLosePushesAreFound(t *testing.T) {
	s := open(t, Options{})
	if err := s.CheckDurable(t.Context()); err == nil || !strings.Contains(err.Error(), "meta: the server runs with fsync = off") {
		t.Errorf("a server without fsync: %v", err)
	}
	server := testserver.StartPostgres(t)
	// What a database or a user is set to does not weaken a session.
	server.Exec(`ALTER DATABASE berth SET synchronous_commit = off`)
	server.Exec(`ALTER ROLE postgres SET synchronous_commit = off`)
	durable := open(t, Options{URL: server.URL()})
	if err := durable.CheckDurable(t.Context()); err != nil {
		t.Errorf("a durable server: %v", err)
	}
	mustRun(t, durable, `ALTER DATABASE berth SET default_transaction_read_only = on`)
	durable.pool.Reset()
	if err := durable.CheckDurable(t.Context()); err == nil || !strings.Contains(err.Error(), "meta: no server to write to") {
		t.Errorf("a server that takes no writes: %v", err)
	}
}

func TestSettingsOfASession(t *testing.T) {
	s := open(t, Options{})
	for name, want := range map[string]string{
		"lock_timeout": "2s", "idle_in_transaction_session_timeout": "5s", "transaction_isolation": "read committed",
		"application_name": "berth", "TimeZone": "UTC", "synchronous_commit": "on",
	} {
		var got string
		if _, err := s.find(t.Context(), noTenant, `SELECT current_setting($1)`, []any{name}, &got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
}
