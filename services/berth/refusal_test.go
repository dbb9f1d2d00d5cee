package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/tools/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// password is in every URL and never in what the command says.
const password = "hunter2hunter2"

// with is the URL with a part of it changed.
func with(t *testing.T, text string, change func(u *url.URL, q url.Values)) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	change(u, q)
	u.RawQuery = q.Encode()
	return u.String()
}

// attempt is one start that is to fail.
type attempt struct {
	name    string
	want    string            // how its complaint begins
	setting map[string]string // over those of a good cluster node
	remove  string            // a setting of it that is not set
}

// TestServeRefusesServersItCannotUse names the setting, within seconds, and
// leaves nothing behind.
func TestServeRefusesServersItCannotUse(t *testing.T) {
	db := testserver.StartPostgres(t)
	db.Exec(`CREATE ROLE locked LOGIN PASSWORD 'another'`)
	letNobodyIn(t, db, "locked", "scram-sha-256")
	blobs := testserver.S3(t)
	s3 := func(change func(u *url.URL, q url.Values)) string { return with(t, blobs, change) }
	meta := func(change func(u *url.URL)) string {
		return with(t, db.URL(), func(u *url.URL, _ url.Values) {
			u.User = url.UserPassword("postgres", password)
			change(u)
		})
	}
	good := map[string]string{"BERTH_META": meta(func(*url.URL) {}), "BERTH_BLOBS": blobs, "BERTH_OPERATOR_TOKEN": password + password, "BERTH_SECRET_KEY": password + password}

	attempts := []attempt{
		{name: "nothing listens", want: "meta: the server cannot be reached: ", setting: map[string]string{
			"BERTH_META": meta(func(u *url.URL) { u.Host = testserver.FreeAddr(t) }),
		}},
		{name: "wrong password", want: "meta: the server does not let this user in", setting: map[string]string{
			"BERTH_META": meta(func(u *url.URL) { u.User = url.UserPassword("locked", password) }),
		}},
		{name: "no such database", want: "meta: the database does not exist", setting: map[string]string{
			"BERTH_META": meta(func(u *url.URL) { u.Path = "/nosuch" }),
		}},
		{name: "not a URL", want: "meta: ", setting: map[string]string{"BERTH_META": "postgres:" + password}},
		{name: "not durable", want: "meta: the server runs with fsync = off", setting: map[string]string{"BERTH_META": testserver.Postgres(t)}},
		{name: "no such bucket", want: `blobs: the bucket "nosuch" at `, setting: map[string]string{
			"BERTH_BLOBS": s3(func(u *url.URL, _ url.Values) { u.Host = "nosuch" }),
		}},
		{name: "nothing listens there", want: `blobs: the bucket "`, setting: map[string]string{
			"BERTH_BLOBS": s3(func(_ *url.URL, q url.Values) { q.Set("endpoint", "http://"+testserver.FreeAddr(t)) }),
		}},
		{name: "a bucket that takes nothing", want: `blobs: the bucket "`, setting: map[string]string{
			"BERTH_BLOBS": s3(func(_ *url.URL, q url.Values) { q.Set("endpoint", readOnlyStore(t)) }),
		}},
		{name: "credentials in the URL", want: "blobs: ", setting: map[string]string{
			"BERTH_BLOBS": s3(func(u *url.URL, _ url.Values) { u.User = url.UserPassword("key", password) }),
		}},
		{name: "no blobs", want: "blobs: is empty", remove: "BERTH_BLOBS"},
		{name: "no secret key", want: "secret_key: is not set", remove: "BERTH_SECRET_KEY"},
		{name: "no operator token", want: "operator_token: is not set", remove: "BERTH_OPERATOR_TOKEN"},
		{name: "not a Redis", want: "redis: ", setting: map[string]string{"BERTH_REDIS": "http://:" + password + "@127.0.0.1/0"}},
		{name: "no database of a Redis", want: "redis: ", setting: map[string]string{"BERTH_REDIS": "redis://:" + password + "@127.0.0.1:6379/many"}},
		{name: "no such service", want: `services: "mirror" is not one of `, setting: map[string]string{"BERTH_SERVICES": "registry,mirror"}},
		{name: "services without a database", want: "services: ", remove: "BERTH_META", setting: map[string]string{"BERTH_SERVICES": "upload"}},
		{name: "calls without a key", want: "internal_key: is not set", setting: map[string]string{
			"BERTH_SERVICES": "registry", "BERTH_UPLOAD_URL": "http://127.0.0.1:5091",
		}},
		{name: "calls with a weak key", want: "internal_key: has ", setting: map[string]string{"BERTH_INTERNAL_KEY": "hunter2"}},
		{name: "calls to nowhere", want: "upload_url: ", setting: map[string]string{
			"BERTH_SERVICES": "registry", "BERTH_UPLOAD_URL": "ftp://u:" + password + "@host", "BERTH_INTERNAL_KEY": password + password,
		}},
	}
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) { a.wantRefused(t, good) })
	}

	t.Run("wrong credentials", func(t *testing.T) {
		t.Setenv("AWS_SECRET_ACCESS_KEY", password)
		attempt{want: `blobs: the bucket "`}.wantRefused(t, good)
	})
	t.Run("a newer schema", func(t *testing.T) {
		if code, _, errs := berth(t, []string{"BERTH_META=" + good["BERTH_META"]}, "migrate"); code != exitOK {
			t.Fatal(errs)
		}
		c, err := pgx.Connect(t.Context(), db.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(t.Context())
		if _, err := c.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`); err != nil {
			t.Fatal(err)
		}
		attempt{want: "meta: the database has schema version 9999, newer than this program's"}.wantRefused(t, good)
	})
}

func (a attempt) wantRefused(t *testing.T, good map[string]string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	data := testserver.FreeAddr(t)
	settings := map[string]string{
		"BERTH_DATA_DIR": dir, "BERTH_DATA_ADDR": data, "BERTH_LOG_FORMAT": "json",
		"BERTH_ADMIN_ADDR": "127.0.0.1:0", "BERTH_ADMIN_GRPC_ADDR": "127.0.0.1:0", "BERTH_INTERNAL_ADDR": "127.0.0.1:0", "BERTH_OPS_ADDR": "127.0.0.1:0",
	}
	for _, from := range []map[string]string{good, a.setting} {
		for key, value := range from {
			settings[key] = value
		}
	}
	delete(settings, a.remove)
	var environ []string
	for key, value := range settings {
		environ = append(environ, key+"="+value)
	}
	began := time.Now()
	code, out, errs := berth(t, environ, "serve")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	complaint, _, _ := strings.Cut(errs, "\n")
	if code != exitFailure || !strings.HasPrefix(complaint, "berth: "+a.want) {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	if strings.Contains(out+errs, "hunter2") {
		t.Errorf("a secret is in\n%s%s", out, errs)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s was made", dir)
	}
	if conn, err := net.Dial("tcp", data); err == nil {
		_ = conn.Close()
		t.Error("something listens")
	}
}

// letNobodyIn makes the server ask a role for its password.
func letNobodyIn(t *testing.T, db *testserver.PostgresServer, role, how string) {
	t.Helper()
	text := fmt.Sprintf("host all %s 127.0.0.1/32 %s\nhost all all 127.0.0.1/32 trust\n", role, how)
	if err := os.WriteFile(filepath.Join(db.Dir(), "pg_hba.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	db.Exec(`SELECT pg_reload_conf()`)
}

// readOnlyStore is an S3 store whose bucket is there and takes nothing.
func readOnlyStore(t *testing.T) string {
	t.Helper()
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`))
	}))
	t.Cleanup(store.Close)
	return store.URL
}

// TestServeRefusesAPortThatIsTakenOnServers names the setting of the address,
// after it has opened its stores, and closes them again.
func TestServeRefusesAPortThatIsTakenOnServers(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	good := map[string]string{
		"BERTH_META": testserver.StartPostgres(t).URL(), "BERTH_BLOBS": testserver.S3(t), "BERTH_OPERATOR_TOKEN": password + password, "BERTH_SECRET_KEY": password + password,
	}
	if code, _, errs := berth(t, []string{"BERTH_META=" + good["BERTH_META"]}, "migrate"); code != exitOK { // else the first start does it
		t.Fatalf("exit code %d\n%s", code, errs)
	}
	for _, setting := range []string{"data_addr", "admin_addr", "admin_grpc_addr", "ops_addr"} {
		attempt{want: setting + " " + taken.Addr().String() + ": address already in use", setting: map[string]string{
			"BERTH_" + strings.ToUpper(setting): taken.Addr().String(),
		}}.wantRefused(t, good)
	}
}

// TestServeRefusesADirectoryInUse keeps a second process from a data directory,
// and a restore or a check from the one that a process serves from.
func TestServeRefusesADirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan int, 1)
	args := []string{"serve", "--data-dir", dir, "--data-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--admin-grpc-addr=127.0.0.1:0", "--ops-addr=127.0.0.1:0"}
	go func() {
		done <- run(ctx, args, nil, nil, io.Discard, w)
		w.Close()
	}()
	lines := bufio.NewScanner(r)
	for lines.Scan() && !strings.Contains(lines.Text(), `"serving"`) {
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	for _, second := range [][]string{args, {"fsck", "--data-dir", dir}} {
		code, _, errs := berth(t, nil, second...)
		if want := map[string]int{"serve": exitFailure, "fsck": exitUnfinished}[second[0]]; code != want || !strings.Contains(errs, "data_dir") || !strings.Contains(errs, dir) {
			t.Errorf("%s: exit code %d\n%s", second[0], code, errs)
		}
	}
	stop()
	if code := <-done; code != exitOK {
		t.Errorf("the first one ended with %d", code)
	}
}
