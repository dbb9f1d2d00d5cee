package sqlmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	raiseAccountEpoch = `UPDATE accounts SET epoch = $3 WHERE tenant_id = $1 AND id = $2`

	insertRevocation = `
INSERT INTO revocations (tenant_id, account_id, key_name, epoch, at) VALUES ($1, $2, $3, $4, berth_now())
ON CONFLICT (tenant_id, account_id, key_name) DO UPDATE SET epoch = excluded.epoch, at = excluded.at`

	listRevocations = `
SELECT r.tenant_id, r.account_id, r.key_name, r.epoch, r.at FROM revocations r
WHERE r.at > berth_now() - CAST($1 AS interval) ORDER BY r.at DESC LIMIT $2`

	countOfAccount = `SELECT count(*) FROM (SELECT 1 FROM revocations WHERE tenant_id = $1 AND account_id = $2 LIMIT $3) AS counted`
	dropOfAccount  = `DELETE FROM revocations WHERE tenant_id = $1 AND account_id = $2`

	countRevocations = `SELECT count(*) FROM (SELECT 1 FROM revocations WHERE tenant_id = $1 LIMIT $2) AS counted`
	dropRevocations  = `DELETE FROM revocations WHERE tenant_id = $1`

	trimRevocations = `DELETE FROM revocations WHERE at < berth_now() - CAST($1 AS interval)`
)

// allKeys in place of a key's name means all tokens of an account.
const allKeys = ""

// maxRevocations is how many revocations a tenant has. All nodes read those of all tenants
// all the time, and one that makes and deletes keys in a loop must not make that dear.
const maxRevocations = 500

// maxOfAccount is how many of them one account has: users delete keys of their own, and must
// not end the tokens of others by it.
const maxOfAccount = 50

// revoke raises the epoch of a locked account, so that tokens that were issued before count
// no more: those for a key, or all. With more than maxOfAccount it is all. With more than maxRevocations, the epoch of the tenant
// takes the place of them: all of its tokens are refused, and clients get others.
func revoke(t Tx, id tenant.ID, r accountRow, key string) error {
	if err := t.Queue(raiseAccountEpoch, id, r.id, r.epoch+1); err != nil {
		return err
	}
	if err := t.Queue(insertRevocation, id, r.id, key, r.epoch+1); err != nil {
		return err
	}
	var n int
	if _, err := t.Find(countOfAccount, []any{id, r.id, maxOfAccount + 1}, &n); err != nil {
		return err
	}
	if n > maxOfAccount {
		if err := t.Queue(dropOfAccount, id, r.id); err != nil {
			return err
		}
		if err := t.Queue(insertRevocation, id, r.id, allKeys, r.epoch+1); err != nil {
			return err
		}
	}
	if _, err := t.Find(countRevocations, []any{id, maxRevocations + 1}, &n); err != nil || n <= maxRevocations {
		return err
	}
	if err := t.Queue(dropRevocations, id); err != nil {
		return err
	}
	return t.Queue(raiseEpoch, id)
}

// RevokeTokens implements meta.Accounts.
func (s *Records) RevokeTokens(ctx context.Context, by meta.Cause, id tenant.ID, k access.Kind, slug string) error {
	return s.engine.Write(ctx, id, func(t Tx) error {
		if err := beginAlone(t, by, id, eventOf(k, "serviceAccount.revoke", "user.revoke"), k.PrincipalName(slug)); err != nil {
			return err
		}
		r, err := lockedAccount(t, id, k, slug, 0)
		if err != nil {
			return err
		}
		if err := t.Queue(deleteRefreshes, id, r.id); err != nil {
			return err
		}
		if err := t.Queue(deleteSessions, id, r.id); err != nil {
			return err
		}
		if n, err := t.Exec(forgetReading, id, r.id); err != nil {
			return err
		} else if n > 0 {
			if err := t.Queue(raiseAccessVersion, id); err != nil {
				return err
			}
		}
		return revoke(t, id, r, allKeys)
	})
}

// ListRevocations implements meta.Revocations.
func (s *Records) ListRevocations(ctx context.Context, age time.Duration, most int) ([]access.Revocation, error) {
	return list(ctx, s, noTenant, scanRevocation, listRevocations, s.engine.Interval(age), most)
}

func scanRevocation(scan Scan) (access.Revocation, error) {
	var r access.Revocation
	err := scan(&r.Tenant, &r.Account, &r.Key, &r.Epoch, timeScanner{&r.At})
	return r, err
}

// TrimTokens implements meta.Collector.
func (s *Records) TrimTokens(ctx context.Context, _ int) (int, error) {
	var trimmed int64
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		var err error
		if trimmed, err = t.Exec(trimRevocations, t.Interval(2*access.RevocationLife)); err != nil {
			return err
		}
		for _, statement := range []string{trimRefreshes, trimSessions, trimLogins} {
			n, err := t.Exec(statement)
			if err != nil {
				return err
			}
			trimmed += n
		}
		return nil
	})
	return int(trimmed), err
}
