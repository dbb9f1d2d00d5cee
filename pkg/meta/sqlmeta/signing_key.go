package sqlmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
)

const (
	listVerifyKeys = `SELECT id, algorithm, public, created_at, signs_from, retired_at FROM token_keys ORDER BY id`

	selectSigningKey = `SELECT id, algorithm, public, created_at, signs_from, retired_at, sealed FROM token_keys`
	listSigningKeys  = selectSigningKey + ` ORDER BY id`
	findSigningKey   = selectSigningKey + ` WHERE id = $1`

	insertSigningKey = `
INSERT INTO token_keys (id, algorithm, public, sealed, created_at, signs_from, retired_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO NOTHING`

	retireSigningKey = `UPDATE token_keys SET retired_at = coalesce(retired_at, $2) WHERE id = $1`
	sealSigningKey   = `UPDATE token_keys SET sealed = $2 WHERE id = $1`
	deleteSigningKey = `DELETE FROM token_keys WHERE id = $1`

	listOpenSigningKeys = `SELECT id, algorithm, private, created_at, retired_at FROM signing_keys ORDER BY id`

	// An older version may have stored another key with the same id: that key is in
	// use.
	adoptSigningKey = `
INSERT INTO token_keys AS k (id, algorithm, public, sealed, created_at, signs_from, retired_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO UPDATE SET public = excluded.public, sealed = excluded.sealed,
  created_at = excluded.created_at, signs_from = excluded.signs_from,
  retired_at = CASE WHEN k.public = excluded.public THEN coalesce(k.retired_at, excluded.retired_at) ELSE excluded.retired_at END`
)

func scanVerifyKey(scan Scan) (access.VerifyKey, error) {
	var k access.VerifyKey
	err := scan(&k.ID, &k.Algorithm, &k.Public, timeScanner{&k.CreatedAt}, timeScanner{&k.SignsFrom}, timeScanner{&k.RetiredAt})
	return k, err
}

func scanSigningKey(scan Scan) (access.SigningKey, error) {
	var k access.SigningKey
	err := scan(signingKeyColumns(&k)...)
	return k, err
}

func signingKeyColumns(k *access.SigningKey) []any {
	return []any{&k.ID, &k.Algorithm, &k.Public, timeScanner{&k.CreatedAt}, timeScanner{&k.SignsFrom}, timeScanner{&k.RetiredAt}, &k.Sealed}
}

func scanOpenSigningKey(scan Scan) (access.OpenSigningKey, error) {
	var k access.OpenSigningKey
	err := scan(&k.ID, &k.Algorithm, &k.Private, timeScanner{&k.CreatedAt}, timeScanner{&k.RetiredAt})
	return k, err
}

// signingKeyRow is the row of a key. Its sealed half may be empty, but not NULL.
func signingKeyRow(t Tx, k access.SigningKey) []any {
	return []any{k.ID, k.Algorithm, k.Public, append([]byte{}, k.Sealed...), t.Time(k.CreatedAt), t.Time(k.SignsFrom), t.Time(k.RetiredAt)}
}

// ListVerifyKeys implements meta.SigningKeys.
func (s *Records) ListVerifyKeys(ctx context.Context) ([]access.VerifyKey, error) {
	return list(ctx, s, noTenant, scanVerifyKey, listVerifyKeys)
}

// ListSigningKeys implements meta.SigningKeys.
func (s *Records) ListSigningKeys(ctx context.Context) ([]access.SigningKey, error) {
	return list(ctx, s, noTenant, scanSigningKey, listSigningKeys)
}

// PutSigningKey implements meta.SigningKeys.
func (s *Records) PutSigningKey(ctx context.Context, k access.SigningKey) (access.SigningKey, error) {
	var kept access.SigningKey
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		if err := t.Queue(insertSigningKey, signingKeyRow(t, k)...); err != nil {
			return err
		}
		_, err := t.Find(findSigningKey, []any{k.ID}, signingKeyColumns(&kept)...)
		return err
	})
	return kept, err
}

// UpdateSigningKey implements meta.SigningKeys.
func (s *Records) UpdateSigningKey(ctx context.Context, k access.SigningKey) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error {
		if len(k.Sealed) > 0 {
			if err := t.Queue(sealSigningKey, k.ID, k.Sealed); err != nil {
				return err
			}
		}
		return t.Queue(retireSigningKey, k.ID, t.Time(k.RetiredAt))
	})
}

// DeleteSigningKey implements meta.SigningKeys.
func (s *Records) DeleteSigningKey(ctx context.Context, id string) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error { return t.Queue(deleteSigningKey, id) })
}

// ListOpenSigningKeys implements meta.SigningKeys.
func (s *Records) ListOpenSigningKeys(ctx context.Context) ([]access.OpenSigningKey, error) {
	return list(ctx, s, noTenant, scanOpenSigningKey, listOpenSigningKeys)
}

// AdoptSigningKey is the first half of meta.SigningKeys.AdoptSigningKey: it stores
// the key. The store removes the open key without a trace.
func AdoptSigningKey(t Tx, k access.SigningKey) error {
	_, err := t.Exec(adoptSigningKey, signingKeyRow(t, k)...)
	return err
}

const (
	signingKeysDue     = `SELECT keys_due FROM deployment WHERE one = 1 AND keys_due IS NOT NULL`
	replaceSigningKeys = `UPDATE deployment SET keys_due = berth_now() WHERE one = 1`
)

// SigningKeysDue implements meta.SigningKeys.
func (s *Records) SigningKeysDue(ctx context.Context) (time.Time, error) {
	times, err := list(ctx, s, noTenant, scanOneTime, signingKeysDue)
	if err != nil || len(times) == 0 {
		return time.Time{}, err
	}
	return times[0], nil
}

// ReplaceSigningKeys implements meta.SigningKeys.
func (s *Records) ReplaceSigningKeys(ctx context.Context, by meta.Cause) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error {
		if err := change(t, noIdentity(), replaceSigningKeys); err != nil {
			return err
		}
		return Event(t, by, meta.Deployment, meta.KeysRotated, "signingKeys")
	})
}

func scanOneTime(scan Scan) (time.Time, error) {
	var at time.Time
	err := scan(timeScanner{&at})
	return at, err
}
