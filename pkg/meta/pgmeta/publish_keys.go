package pgmeta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/berth-registry/berth/pkg/access"
)

const (
	openKeys = `SELECT id, algorithm, private, created_at, retired_at FROM signing_keys ORDER BY id`

	publishKey = `
INSERT INTO token_keys (id, algorithm, public, sealed, created_at, signs_from, retired_at) VALUES ($1, $2, $3, '', $4, $5, $6)
ON CONFLICT (id) DO NOTHING`
)

// publishOpenKeys publishes the public halves of the keys that versions before
// keep open, so that processes that only verify need not read the private ones,
// and take the tokens that are in flight, also before the first process that
// issues tokens has moved the keys.
func publishOpenKeys(ctx context.Context, db *sql.Conn) error {
	rows, err := db.QueryContext(ctx, openKeys)
	if err != nil {
		return err
	}
	var keys []access.VerifyKey
	for rows.Next() {
		var k access.OpenSigningKey
		var retired sql.NullTime
		if err := rows.Scan(&k.ID, &k.Algorithm, &k.Private, &k.CreatedAt, &retired); err != nil {
			return errors.Join(err, rows.Close())
		}
		k.RetiredAt = retired.Time
		public, err := k.Publish()
		if err != nil {
			return errors.Join(err, rows.Close())
		}
		keys = append(keys, public)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, k := range keys {
		retired := sql.NullTime{Time: k.RetiredAt, Valid: !k.RetiredAt.IsZero()}
		if _, err := db.ExecContext(ctx, publishKey, k.ID, k.Algorithm, k.Public, k.CreatedAt, k.SignsFrom, retired); err != nil {
			return fmt.Errorf("publish signing key %s: %w", k.ID, err)
		}
	}
	return nil
}
