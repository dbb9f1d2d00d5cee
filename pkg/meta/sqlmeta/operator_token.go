package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

const (
	selectOperatorKey = `
SELECT k.name, k.hash, k.description, k.created_at, k.expires_at, k.last_used_at, k.last_used_from
FROM operators o JOIN operator_tokens k ON k.operator_id = o.id WHERE o.slug = $1`

	listOperatorKeys = selectOperatorKey + ` ORDER BY k.name`
	findOperatorKey  = selectOperatorKey + ` AND k.name = $2`

	insertOperatorKey = `
INSERT INTO operator_tokens (operator_id, name, hash, description, created_at, expires_at) VALUES ($1, $2, $3, $4, berth_now(), $5)
ON CONFLICT (operator_id, name) DO NOTHING`

	countOperatorKeys = `SELECT count(*) FROM (SELECT 1 FROM operator_tokens WHERE operator_id = $1 LIMIT $2) AS counted`

	deleteOperatorKey = `DELETE FROM operator_tokens WHERE operator_id = $1 AND name = $2`

	findOperatorByToken = `
SELECT k.name, ` + operatorColumns + `
FROM operator_tokens k JOIN operators o ON o.id = k.operator_id
WHERE k.hash = $1 AND NOT o.disabled AND k.expires_at > berth_now()`

	recordTokenUsesPostgres = `
UPDATE operator_tokens k SET last_used_at = u.at, last_used_from = u.address
  FROM json_to_recordset(CAST($1 AS json)) AS u (account bigint, key text, at timestamptz, address text)
 WHERE k.operator_id = u.account AND k.name = u.key AND (k.last_used_at IS NULL OR k.last_used_at < u.at)`
	recordTokenUsesSQLite = `
UPDATE operator_tokens SET last_used_at = j.value ->> 'micros', last_used_from = j.value ->> 'address'
  FROM json_each($1) j
 WHERE operator_id = j.value ->> 'account' AND name = j.value ->> 'key'
   AND (last_used_at IS NULL OR last_used_at < j.value ->> 'micros')`
)

// ListOperatorTokens implements meta.Operators.
func (s *Records) ListOperatorTokens(ctx context.Context, slug string) ([]meta.AccountKey, error) {
	if _, err := s.FindOperator(ctx, slug); err != nil {
		return nil, err
	}
	return list(ctx, s, noTenant, scanAccountKey, listOperatorKeys, slug)
}

// CreateOperatorToken implements meta.Operators.
func (s *Records) CreateOperatorToken(ctx context.Context, by meta.Cause, slug string, k meta.AccountKey) (meta.AccountKey, error) {
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		id, err := beginOperatorChange(t, by, "operatorToken.create", slug, operatorTokenTarget(slug, k.Name), 0)
		if err != nil {
			return err
		}
		taken := fault.New(fault.Conflict, fault.AlreadyExists, "operator %q has a token %q already", slug, k.Name)
		if err := change(t, taken, insertOperatorKey, id, k.Name, k.Hash[:], k.Note, t.Time(k.ExpiresAt)); err != nil {
			return err
		}
		return checkLimit(t, s.limits.OperatorTokenLimit(), countOperatorKeys, id)
	})
	if err != nil {
		return meta.AccountKey{}, err
	}
	return find(ctx, s, noTenant, noOperatorToken(slug, k.Name), scanAccountKey, findOperatorKey, slug, k.Name)
}

// DeleteOperatorToken implements meta.Operators.
func (s *Records) DeleteOperatorToken(ctx context.Context, by meta.Cause, slug, name string) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error {
		id, err := beginOperatorChange(t, by, "operatorToken.delete", slug, operatorTokenTarget(slug, name), 0)
		if err != nil {
			return err
		}
		if err := change(t, noOperatorToken(slug, name), deleteOperatorKey, id, name); err != nil {
			return err
		}
		return t.Queue(deleteSessionsOfKey, meta.Deployment, id, name)
	})
}

// FindOperatorByToken implements meta.Operators.
func (s *Records) FindOperatorByToken(ctx context.Context, hash [32]byte) (meta.OperatorLogin, error) {
	unknown := fault.New(fault.NotFound, fault.ResourceUnknown, "no operator has this token")
	return find(ctx, s, noTenant, unknown, scanOperatorLogin, findOperatorByToken, hash[:])
}

func scanOperatorLogin(scan Scan) (meta.OperatorLogin, error) {
	var l meta.OperatorLogin
	err := scan(append([]any{&l.Token}, operatorDest(&l.Operator)...)...)
	return l, err
}

func operatorTokenTarget(slug, name string) string {
	return meta.OperatorName(slug) + "/tokens/" + name
}

func noOperatorToken(slug, name string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "operator %q has no token %q", slug, name)
}
