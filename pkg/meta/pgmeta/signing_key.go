package pgmeta

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/access"
)

const (
	listSigningKeys = `SELECT id, algorithm, private, created_at, retired_at FROM signing_keys ORDER BY id`
	findSigningKey  = `SELECT id, algorithm, private, created_at, retired_at FROM signing_keys WHERE id = $1`

	insertSigningKey = `
INSERT INTO signing_keys (id, algorithm, private, created_at, retired_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`
)

func scanSigningKey(scan scan) (access.SigningKey, error) {
	var k access.SigningKey
	err := scan(&k.ID, &k.Algorithm, &k.Private, moment{&k.CreatedAt}, moment{&k.RetiredAt})
	return k, err
}

// PutSigningKey implements meta.SigningKeys.
func (s *Store) PutSigningKey(ctx context.Context, k access.SigningKey) (access.SigningKey, error) {
	var kept access.SigningKey
	err := s.write(ctx, nobody, func(t *tx) error {
		if _, err := t.exec(insertSigningKey, k.ID, k.Algorithm, k.Private, timeOrNull(k.CreatedAt), timeOrNull(k.RetiredAt)); err != nil {
			return err
		}
		t.queue(findSigningKey, k.ID).QueryRow(func(row pgx.Row) error {
			var err error
			kept, err = scanSigningKey(row.Scan)
			return err
		})
		return t.flush()
	})
	return kept, err
}

// ListSigningKeys implements meta.SigningKeys.
func (s *Store) ListSigningKeys(ctx context.Context) ([]access.SigningKey, error) {
	return collect(ctx, s, nobody, scanSigningKey, listSigningKeys)
}
