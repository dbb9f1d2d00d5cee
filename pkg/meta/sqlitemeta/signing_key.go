package sqlitemeta

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"

	"github.com/berth-registry/berth/pkg/access"
)

const (
	listVerifyKeys = `SELECT id, algorithm, public, created_at, signs_from, retired_at FROM token_keys ORDER BY id`

	selectSigningKey = `SELECT id, algorithm, public, created_at, signs_from, retired_at, sealed FROM token_keys`
	listSigningKeys  = selectSigningKey + ` ORDER BY id`
	findSigningKey   = selectSigningKey + ` WHERE id = ?1`

	insertSigningKey = `
INSERT INTO token_keys (id, algorithm, public, sealed, created_at, signs_from, retired_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (id) DO NOTHING`

	updateSigningKey = `
UPDATE token_keys SET sealed = CASE WHEN length(?2) > 0 THEN ?2 ELSE sealed END, retired_at = coalesce(retired_at, ?3) WHERE id = ?1`

	deleteSigningKey = `DELETE FROM token_keys WHERE id = ?1`

	listOpenSigningKeys  = `SELECT id, algorithm, private, created_at, retired_at FROM signing_keys ORDER BY id`
	deleteOpenSigningKey = `DELETE FROM signing_keys WHERE id = ?1`

	// A version before may have made another key with the same id: it is the one
	// that is in use.
	adoptSigningKey = `
INSERT INTO token_keys AS k (id, algorithm, public, sealed, created_at, signs_from, retired_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (id) DO UPDATE SET public = excluded.public, sealed = excluded.sealed,
  created_at = excluded.created_at, signs_from = excluded.signs_from,
  retired_at = CASE WHEN k.public = excluded.public THEN coalesce(k.retired_at, excluded.retired_at) ELSE excluded.retired_at END`
)

func scanVerifyKey(scan scan) (access.VerifyKey, error) {
	var k access.VerifyKey
	err := scan(&k.ID, &k.Algorithm, &k.Public, moment{&k.CreatedAt}, moment{&k.SignsFrom}, moment{&k.RetiredAt})
	return k, err
}

func scanSigningKey(scan scan) (access.SigningKey, error) {
	var k access.SigningKey
	err := scan(&k.ID, &k.Algorithm, &k.Public, moment{&k.CreatedAt}, moment{&k.SignsFrom}, moment{&k.RetiredAt}, &k.Sealed)
	return k, err
}

func scanOpenSigningKey(scan scan) (access.OpenSigningKey, error) {
	var k access.OpenSigningKey
	err := scan(&k.ID, &k.Algorithm, &k.Private, moment{&k.CreatedAt}, moment{&k.RetiredAt})
	return k, err
}

func signingKeyRow(k access.SigningKey) []any {
	return []any{k.ID, k.Algorithm, k.Public, notNull(k.Sealed), micros(k.CreatedAt), micros(k.SignsFrom), micros(k.RetiredAt)}
}

// notNull is for bytes that may be none.
func notNull(b []byte) []byte { return append([]byte{}, b...) }

// ListVerifyKeys implements meta.SigningKeys.
func (s *Store) ListVerifyKeys(ctx context.Context) ([]access.VerifyKey, error) {
	return collect(ctx, s, scanVerifyKey, listVerifyKeys)
}

// ListSigningKeys implements meta.SigningKeys.
func (s *Store) ListSigningKeys(ctx context.Context) ([]access.SigningKey, error) {
	return collect(ctx, s, scanSigningKey, listSigningKeys)
}

// PutSigningKey implements meta.SigningKeys.
func (s *Store) PutSigningKey(ctx context.Context, k access.SigningKey) (access.SigningKey, error) {
	var kept access.SigningKey
	err := s.write(ctx, func(t *tx) error {
		if _, err := t.exec(insertSigningKey, signingKeyRow(k)...); err != nil {
			return err
		}
		return t.list(findSigningKey, []any{k.ID}, func(scan scan) error {
			var err error
			kept, err = scanSigningKey(scan)
			return err
		})
	})
	return kept, err
}

// UpdateSigningKey implements meta.SigningKeys.
func (s *Store) UpdateSigningKey(ctx context.Context, k access.SigningKey) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(updateSigningKey, k.ID, notNull(k.Sealed), micros(k.RetiredAt))
		return err
	})
}

// DeleteSigningKey implements meta.SigningKeys.
func (s *Store) DeleteSigningKey(ctx context.Context, id string) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(deleteSigningKey, id)
		return err
	})
}

// ListOpenSigningKeys implements meta.SigningKeys.
func (s *Store) ListOpenSigningKeys(ctx context.Context) ([]access.OpenSigningKey, error) {
	return collect(ctx, s, scanOpenSigningKey, listOpenSigningKeys)
}

// AdoptSigningKey implements meta.SigningKeys.
func (s *Store) AdoptSigningKey(ctx context.Context, k access.SigningKey) error {
	err := s.write(ctx, func(t *tx) error {
		if _, err := t.exec(adoptSigningKey, signingKeyRow(k)...); err != nil {
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
	db, err := sql.Open("sqlite", dsn(filepath.Join(s.opts.Dir, FileName), "busy_timeout(1000)")+"&mode=rw")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
	return errors.Join(err, db.Close())
}
