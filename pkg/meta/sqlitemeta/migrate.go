package sqlitemeta

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/berth-registry/berth/migrations"
)

// migrate brings the schema forward; it never goes back.
func migrate(ctx context.Context, db *sql.DB) error {
	steps, err := fs.Sub(migrations.SQLite, "sqlite")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, steps)
	if err != nil {
		return fmt.Errorf("schema of the metadata store: %w", err)
	}
	have, known, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("schema of the metadata store: %w", err)
	}
	if have > known {
		return fmt.Errorf("the metadata store has schema version %d, newer than this program's %d: run a newer version of berth", have, known)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("schema of the metadata store: %w", err)
	}
	return nil
}
