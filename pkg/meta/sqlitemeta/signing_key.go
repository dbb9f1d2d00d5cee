package sqlitemeta

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
)

const deleteOpenSigningKey = `DELETE FROM signing_keys WHERE id = $1`

// AdoptSigningKey implements meta.SigningKeys.
func (s *Store) AdoptSigningKey(ctx context.Context, k access.SigningKey) error {
	err := s.write(ctx, func(t *tx) error {
		if err := sqlmeta.AdoptSigningKey(t.records(), k); err != nil {
			return err
		}
		// The page that held the key is overwritten, not only given back.
		if err := t.control(`PRAGMA secure_delete = ON`); err != nil {
			return err
		}
		_, err := t.exec(deleteOpenSigningKey, k.ID)
		return errors.Join(err, t.control(`PRAGMA secure_delete = OFF`))
	})
	if err != nil {
		return err
	}
	return s.checkpoint(ctx)
}

// checkpoint brings what was written to the file itself, as far as no reader is
// in the way, and empties the log.
func (s *Store) checkpoint(ctx context.Context) error {
	db, err := openDB(dsn(filepath.Join(s.opts.Dir, FileName), "busy_timeout(1000)")+"&mode=rw", s.now)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
	return errors.Join(err, db.Close())
}
