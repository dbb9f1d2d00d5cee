package sqlitemeta

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/berth-registry/berth/migrations"
)

// migrate upgrades the schema; it never downgrades.
func migrate(ctx context.Context, db *sql.DB) error {
	steps, err := steps()
	if err != nil {
		return fmt.Errorf("schema of the metadata store: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, nil, goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(steps...))
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

// steps are the files of migrations. SQLite runs a file as it is; goose would
// take it apart first, line by line, and that took longer than to run it.
func steps() ([]*goose.Migration, error) {
	files, err := fs.Glob(migrations.SQLite, "sqlite/*.sql")
	if err != nil {
		return nil, err
	}
	var steps []*goose.Migration
	for _, file := range files {
		version, err := goose.NumericComponent(file)
		if err != nil {
			return nil, err
		}
		content, err := fs.ReadFile(migrations.SQLite, file)
		if err != nil {
			return nil, err
		}
		statements := string(content)
		steps = append(steps, goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, statements); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			return nil
		}}, nil))
	}
	return steps, nil
}
