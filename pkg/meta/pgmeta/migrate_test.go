package pgmeta

import (
	"database/sql"
	"io/fs"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/berth-registry/berth/migrations"
	"github.com/berth-registry/berth/tools/testserver"
)

// before is a database with version of the schema.
func before(t *testing.T, version int64) string {
	t.Helper()
	url := testserver.Postgres(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	steps, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, steps)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	return url
}

// TestR54_NodesChangeAccountsWhileTheSchemaGrows: a node of the version before locks a
// tenant and then an account, between two of a migration's statements about both.
func TestR54_NodesChangeAccountsWhileTheSchemaGrows(t *testing.T) {
	url := before(t, 23)
	node := otherSession{connect(t, url)}
	node.exec(t, `BEGIN`)
	node.exec(t, `SELECT 1 FROM tenants FOR NO KEY UPDATE`)
	migration := make(chan error, 1)
	go func() { migration <- Migrate(t.Context(), url) }()
	node.waitBlocked(t, 1)
	for _, statement := range []string{`SELECT 1 FROM accounts FOR UPDATE`, `DELETE FROM account_keys`, `COMMIT`} {
		node.exec(t, statement)
	}
	if err := <-migration; err != nil {
		t.Error(err)
	}
}
