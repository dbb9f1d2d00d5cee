package sqlitemeta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/berth-registry/berth/migrations"
)

// openReadOnly makes a store without a writer. It takes the lock where there is
// one: a server in the same directory has it.
func openReadOnly(ctx context.Context, o Options) (*Store, error) {
	file := filepath.Join(o.Dir, FileName)
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("there is no database in data_dir %s: %w", o.Dir, err)
	}
	s := newStore(o)
	var err error
	if s.lock, err = lockFile(filepath.Join(o.Dir, lockName), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if s.reader, err = openReader(dsn(file, "busy_timeout(10000)", "query_only(1)")+"&mode=rw", s.now, o.Readers); err == nil {
		err = checkSchema(ctx, s.reader.db)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s in data_dir %s: %w", FileName, o.Dir, err), s.Close())
	}
	return s, nil
}

const (
	checkSchemaExists  = `SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND name = 'goose_db_version'`
	checkSchemaVersion = `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`
)

var errNotOurs = errors.New("it is not a database of Berth")

// checkSchema refuses every schema but this program's.
func checkSchema(ctx context.Context, db *sql.DB) error {
	var tables, have, known int64
	err := db.QueryRowContext(ctx, checkSchemaExists).Scan(&tables)
	if err == nil && tables > 0 {
		err = db.QueryRowContext(ctx, checkSchemaVersion).Scan(&have)
	}
	switch {
	case code(err) == sqlite3.SQLITE_NOTADB || err == nil && have == 0:
		return errNotOurs
	case err != nil:
		return err
	}
	steps, err := fs.Sub(migrations.SQLite, "sqlite")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, steps)
	if err != nil {
		return err
	}
	for _, step := range p.ListSources() {
		known = max(known, step.Version)
	}
	switch {
	case have > known:
		return fmt.Errorf("its schema version is %d, newer than this program's %d: run a newer version of berth", have, known)
	case have < known:
		return fmt.Errorf("its schema version is %d, older than this program's %d: start the server once, which brings it up to date", have, known)
	default:
		return nil
	}
}
