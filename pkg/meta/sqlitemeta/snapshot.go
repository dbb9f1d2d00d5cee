package sqlitemeta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// What a snapshot leaves out: bytes that no client can pull are not part of a
// backup, so their rows are not either.
var leaveOut = []string{
	`DELETE FROM upload_parts`,
	`DELETE FROM uploads WHERE state IN ('open', 'sealed')`,
	`DELETE FROM objects WHERE state <> 'L'`,
}

// Snapshot writes the database as it is now to a file, which must not exist.
// Writers continue meanwhile. Uploads that are in flight, and objects that are
// staged or condemned, are left out. Only the owner may read the file: it holds
// the keys that sign tokens.
func (s *Store) Snapshot(ctx context.Context, file string) error {
	err := s.vacuumInto(ctx, file)
	if err == nil {
		err = reduce(ctx, file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write a snapshot of the metadata: %w", err), os.RemoveAll(file))
	}
	return nil
}

func (s *Store) vacuumInto(ctx context.Context, file string) error {
	if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("%s: %w", file, os.ErrExist))
	}
	if err := makePrivate(file); err != nil {
		return err
	}
	// A connection of its own, that may write: to another file than this one.
	db, err := sql.Open("sqlite", dsn(filepath.Join(s.opts.Dir, FileName), "busy_timeout(10000)")+"&mode=rw")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?1`, file)
	return errors.Join(err, db.Close())
}

// reduce leaves one file: its journal is kept in memory, since a snapshot that is
// cut off is removed.
func reduce(ctx context.Context, file string) (err error) {
	db, err := sql.Open("sqlite", dsn(file, "journal_mode(MEMORY)", "synchronous(OFF)", "foreign_keys(1)")+"&mode=rw")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, query := range leaveOut {
		if _, err := tx.ExecContext(ctx, query); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}
