package pgmeta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/berth-registry/berth/migrations"
)

// migrationLock is the advisory lock that nodes take to bring the schema
// forward one after the other. The number is arbitrary; never change it.
const migrationLock = 0x6265727468 // "berth"

const (
	lockMigrations   = `SELECT pg_advisory_lock($1)`
	unlockMigrations = `SELECT pg_advisory_unlock($1)`
)

// Migrate brings the schema of the database forward; it never goes back. Any
// number of processes may call it at once. A schema newer than this program is
// refused with a sentence for the operator.
func Migrate(ctx context.Context, url string) error {
	config, err := poolConfig(Options{URL: url}.withDefaults())
	if err != nil {
		return err
	}
	// A step may take longer than a request may wait.
	config.ConnConfig.RuntimeParams["lock_timeout"] = "0"
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	db := stdlib.OpenDB(*config.ConnConfig)
	if err := migrate(ctx, db); err != nil {
		return errors.Join(fmt.Errorf("schema of the metadata store: %w", err), db.Close())
	}
	return db.Close()
}

func migrate(ctx context.Context, db *sql.DB) error {
	// The lock is the session's: it ends with the process, however that ends.
	lock, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	if _, err := lock.ExecContext(ctx, lockMigrations, migrationLock); err != nil {
		return errors.Join(err, lock.Close())
	}
	err = bringForward(ctx, db)
	_, unlocked := lock.ExecContext(context.WithoutCancel(ctx), unlockMigrations, migrationLock)
	return errors.Join(err, unlocked, lock.Close())
}

func bringForward(ctx context.Context, db *sql.DB) error {
	steps, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, steps)
	if err != nil {
		return err
	}
	have, known, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > known {
		return fmt.Errorf("it has version %d, newer than this program's %d: run a newer version of berth", have, known)
	}
	_, err = p.Up(ctx)
	return err
}
