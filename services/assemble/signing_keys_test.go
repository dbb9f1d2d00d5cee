package assemble_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"embed"
	"encoding/base64"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/pressly/goose/v3"

	"github.com/berth-registry/berth/migrations"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/services/assemble"
	copies "github.com/berth-registry/berth/services/backup"
	"github.com/berth-registry/berth/tools/testserver"
)

// openKey is a key as the version before kept it.
type openKey struct {
	id      string
	private ed25519.PrivateKey
	der     []byte
}

func newOpenKey(t *testing.T) openKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	mustAll(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	mustAll(t, err)
	return openKey{time.Now().UTC().Format("20060102"), private, der}
}

// lie makes a database of the version before, with the key in it.
func (k openKey) lie(t *testing.T, dialect goose.Dialect, steps embed.FS, driver, source string) {
	t.Helper()
	db, err := sql.Open(driver, source)
	mustAll(t, err)
	created, dir := any(time.Now().Add(-time.Hour)), "postgres"
	if driver == "sqlite" {
		created, dir = time.Now().Add(-time.Hour).UnixMicro(), "sqlite"
	}
	before, err := fs.Sub(steps, dir)
	mustAll(t, err)
	p, err := goose.NewProvider(dialect, db, before)
	mustAll(t, err)
	_, made := p.UpTo(t.Context(), 8)
	_, kept := db.ExecContext(t.Context(), `INSERT INTO signing_keys (id, algorithm, private, created_at) VALUES ($1, 'EdDSA', $2, $3)`, k.id, k.der, created)
	mustAll(t, made, kept, db.Close())
}

// token is one that the version before issued.
func (k openKey) token(t *testing.T, host string, tenant, epoch int64) string {
	t.Helper()
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": "berth", "sub": "serviceAccounts/suite", "aud": []string{host}, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"use": "registry", "tid": tenant, "epoch": epoch, "role": "ADMIN", "access": []any{},
	})
	token.Header["kid"] = k.id
	raw, err := token.SignedString(k.private)
	mustAll(t, err)
	return raw
}

// wantTaken asks /v2/ of the host with the token.
func (w *world) wantTaken(t *testing.T, host, token string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.registry(host)+"/v2/", nil)
	mustAll(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := w.client.Do(r)
	mustAll(t, err)
	mustAll(t, answer.Body.Close())
	if answer.StatusCode != http.StatusOK {
		t.Errorf("a token in flight is answered %s", answer.Status)
	}
}

// TestS22_OpenKeysOfADataDirectoryAreSealed at the first start, which takes the
// tokens that are in flight; no file and no line of the log holds the key.
func TestS22_OpenKeysOfADataDirectoryAreSealed(t *testing.T) {
	c := seeded(t, boot.Default(), uploadsSeed)
	c.DataDir = t.TempDir()
	c.OperatorToken = boot.NewSecret(secret)
	old := newOpenKey(t)
	file := filepath.Join(c.DataDir, "meta.db")
	old.lie(t, goose.DialectSQLite3, migrations.SQLite, "sqlite", file)

	log := &journal{}
	n, err := launchLogging(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), onFreePorts(c))
	mustAll(t, err)
	w := newWorld(t, n.at("data_addr"), n)
	var tenant, epoch int64
	db, err := sql.Open("sqlite", file)
	mustAll(t, err)
	mustAll(t, db.QueryRowContext(t.Context(), `SELECT id, epoch FROM tenants WHERE slug = 'uploads'`).Scan(&tenant, &epoch), db.Close())
	raw := old.token(t, uploadsHost, tenant, epoch)
	w.wantTaken(t, uploadsHost, raw)
	w.repository(uploadsHost, "suite", "app").get(t, "/token").want(t, http.StatusOK)
	backup := filepath.Join(t.TempDir(), "backup")
	b := c
	b.AdminAddr = n.at("admin_addr")
	_, err = assemble.Backup(t.Context(), b, copies.Copy{Dir: backup, Report: func(string) {}})
	mustAll(t, err)
	n.stop(t)

	for _, dir := range []string{c.DataDir, backup} {
		mustAll(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if bytes.Contains(text, old.private.Seed()) {
				t.Errorf("%s holds the key", path)
			}
			return err
		}))
	}
	if _, err := os.Stat(filepath.Join(backup, "secret-key")); err == nil {
		t.Error("the backup holds the secret key")
	}
	for _, secret := range []string{string(old.private.Seed()), base64.StdEncoding.EncodeToString(old.der), base64.RawURLEncoding.EncodeToString(old.private.Seed()), raw, raw[strings.LastIndex(raw, ".")+1:]} {
		if strings.Contains(log.String(), secret) {
			t.Error("the log holds a key or a token")
		}
	}
}

// asRole is the database's URL for a role.
func asRole(db *testserver.PostgresServer, role string) string {
	return strings.Replace(db.URL(), "postgres@", role+"@", 1)
}

// verifies gives token the role that has the keys, and processes that only verify
// the one that has not.
func verifies(db *testserver.PostgresServer) edit {
	return func(c *boot.Config) {
		c.Meta = boot.NewURL(asRole(db, "berth_token"))
		if !c.Runs(boot.TokenService) {
			c.Meta = boot.NewURL(asRole(db, "berth_service"))
			c.SecretKey = boot.Secret{}
			if c.Runs(boot.AdminService) || c.Runs(boot.ProxyService) {
				c.SecretKey = boot.NewSecret(secret)
			}
		}
	}
}

// makeRoles runs deployments/postgres/roles.sql, twice, as its owner.
func makeRoles(t *testing.T, db *testserver.PostgresServer) {
	t.Helper()
	for range 2 {
		psql := exec.CommandContext(t.Context(), "psql", "-q", "-f", "../../deployments/postgres/roles.sql", db.URL())
		psql.Env = append(os.Environ(), "SERVICE_PASSWORD=service", "TOKEN_PASSWORD=token")
		if out, err := psql.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// TestS47_OnlyTokensRoleHasItsKeys: the role of the other services neither reads
// their private parts nor writes them, and has all else that it needs.
func TestS47_OnlyTokensRoleHasItsKeys(t *testing.T) {
	db := testserver.StartPostgres(t)
	mustAll(t, assemble.Migrate(t.Context(), serversWith(t, db, "")))
	makeRoles(t, db)
	conn, err := sql.Open("pgx", asRole(db, "berth_service"))
	mustAll(t, err)
	defer conn.Close()
	for statement, allowed := range map[string]bool{
		`SELECT id, algorithm, public, created_at, signs_from, retired_at FROM token_keys`: true,
		`DELETE FROM tags`: true,
		`INSERT INTO signing_keys (id, algorithm, private, created_at) VALUES ('mine', 'EdDSA', '', now())`: false,
		`SELECT private FROM signing_keys`:  false,
		`DELETE FROM signing_keys`:          false,
		`SELECT sealed FROM token_keys`:     false,
		`DELETE FROM token_keys`:            false,
		`UPDATE token_keys SET public = ''`: false,
		`INSERT INTO token_keys (id, algorithm, public, sealed, created_at, signs_from) VALUES ('mine', 'EdDSA', '', '', now(), now())`: false,
		`TRUNCATE token_keys`:                         false,
		`GRANT SELECT ON token_keys TO berth_service`: false,
		`SET ROLE berth_token`:                        false,
		`ALTER TABLE token_keys DISABLE TRIGGER ALL`:  false,
		`CREATE TABLE mine (x int)`:                   false,
	} {
		if _, err := conn.ExecContext(t.Context(), statement); (err == nil) != allowed {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// TestS21_OnlyTokenReadsPrivateParts has registry, upload, proxy, admin and
// janitor use a role that may not read them, on a database of the version before.
func TestS21_OnlyTokenReadsPrivateParts(t *testing.T) {
	db := testserver.StartPostgres(t)
	c := serversWith(t, db, "")
	old := newOpenKey(t)
	old.lie(t, goose.DialectPostgres, migrations.Postgres, "pgx", db.URL())
	mustAll(t, assemble.Migrate(t.Context(), c))
	conn, err := sql.Open("pgx", db.URL())
	mustAll(t, err)
	defer conn.Close()
	makeRoles(t, db)
	w := startSplitWith(t, c, uploadsSeed, verifies(db))
	var tenant, epoch int64
	var lying, sealed int
	mustAll(t, conn.QueryRowContext(t.Context(), `SELECT id, epoch FROM tenants WHERE slug = 'uploads'`).Scan(&tenant, &epoch),
		conn.QueryRowContext(t.Context(), `SELECT count(*) FROM signing_keys`).Scan(&lying),
		conn.QueryRowContext(t.Context(), `SELECT count(*) FROM token_keys WHERE length(sealed) > 48 AND position($1::bytea in sealed) = 0`, old.private.Seed()).Scan(&sealed))
	if lying != 0 || sealed != 2 {
		t.Errorf("%d keys lie open, %d are sealed; want 0 and the old and the new", lying, sealed)
	}
	w.wantTaken(t, uploadsHost, old.token(t, uploadsHost, tenant, epoch))
	app := w.repository(uploadsHost, "suite", "app")
	var token struct{ Token string }
	app.get(t, "/token?scope=repository:app:pull,push").want(t, http.StatusOK).decode(t, &token)
	for range 6 { // by turns
		w.wantTaken(t, uploadsHost, token.Token)
	}
}
