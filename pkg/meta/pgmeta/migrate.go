package pgmeta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/berth-registry/berth/migrations"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/pause"
)

// migrationLock is the advisory lock that nodes take to bring the schema
// forward one after the other. The number is arbitrary; never change it.
const migrationLock = 0x6265727468 // "berth"

const (
	lockMigrations   = `SELECT pg_try_advisory_lock($1)`
	unlockMigrations = `SELECT pg_advisory_unlock($1)`
)

// migrationWait is about how long a node waits before it asks for the lock again.
const migrationWait = 100 * time.Millisecond

// Migrate brings the schema of the database that url names forward; it never
// goes back. Any number of processes may call it at once, also while nodes of
// the version before are at work: the first one does the work, the others wait
// for it and find it done. A current schema needs no lock and no more rights than
// to read. Refusals are as those of Open.
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
		return errors.Join(refusal(err), db.Close())
	}
	return db.Close()
}

func migrate(ctx context.Context, db *sql.DB) error {
	steps, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, steps)
	if err != nil {
		return err
	}
	if current, err := isCurrent(ctx, db, p); err != nil || current {
		return err
	}
	// The lock is the session's: it ends with the process, however that ends.
	lock, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	if err := awaitMigrations(ctx, lock); err != nil {
		return errors.Join(err, lock.Close())
	}
	_, err = p.Up(ctx)
	if err == nil {
		err = publishOpenKeys(ctx, lock)
	}
	_, unlocked := lock.ExecContext(context.WithoutCancel(ctx), unlockMigrations, migrationLock)
	return errors.Join(err, unlocked, lock.Close())
}

// awaitMigrations takes the lock of migrations. It asks again and again: a statement
// that waited would hold a snapshot, and for the end of all snapshots waits who
// builds an index concurrently, with this lock.
func awaitMigrations(ctx context.Context, lock *sql.Conn) error {
	for {
		var mine bool
		if err := lock.QueryRowContext(ctx, lockMigrations, migrationLock).Scan(&mine); err != nil || mine {
			return err
		}
		if pause.Between(ctx, migrationWait, 2*migrationWait) != nil {
			return fault.From(ctx.Err())
		}
	}
}

const (
	schemaExists  = `SELECT to_regclass('goose_db_version') IS NOT NULL`
	schemaVersion = `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`
)

// isCurrent compares the schema with this program's, and refuses a newer one.
func isCurrent(ctx context.Context, db *sql.DB, p *goose.Provider) (bool, error) {
	have, known, err := versions(ctx, db, p)
	if err != nil {
		return false, err
	}
	if have > known {
		return false, newerSchema(have, known)
	}
	return have == known, nil
}

func newerSchema(have, known int64) error {
	return fmt.Errorf("the database has schema version %d, newer than this program's %d; run a newer version of berth", have, known)
}

// versions are that of the schema, 0 in an empty database, and this program's.
func versions(ctx context.Context, db *sql.DB, p *goose.Provider) (int64, int64, error) {
	var exists bool
	var have, known int64
	err := db.QueryRowContext(ctx, schemaExists).Scan(&exists)
	if err == nil && exists {
		err = db.QueryRowContext(ctx, schemaVersion).Scan(&have)
	}
	for _, step := range p.ListSources() {
		known = max(known, step.Version)
	}
	return have, known, err
}

// checkCurrent refuses every schema but this program's, and changes none.
func checkCurrent(ctx context.Context, config *pgxpool.Config) error {
	steps, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*config.ConnConfig)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, steps)
	if err != nil {
		return refusal(err)
	}
	have, known, err := versions(ctx, db, p)
	switch {
	case err != nil:
		return refusal(err)
	case have == 0:
		return errors.New("meta: the database holds nothing of Berth; name the one that does")
	case have > known:
		return refusal(newerSchema(have, known))
	case have < known:
		return fmt.Errorf("meta: the database has schema version %d, older than this program's %d; run `berth migrate`, or start a server, first", have, known)
	default:
		return nil
	}
}
