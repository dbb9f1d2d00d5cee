package sqlmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	raiseAccountEpoch = `UPDATE accounts SET epoch = $3 WHERE tenant_id = $1 AND id = $2`

	insertRevocation = `
INSERT INTO revocations (tenant_id, account_id, key_name, epoch, at) VALUES ($1, $2, $3, $4, berth_now())
ON CONFLICT (tenant_id, account_id, key_name) DO UPDATE SET epoch = excluded.epoch, at = excluded.at`

	listRevocations = `
SELECT r.tenant_id, r.account_id, r.key_name, r.epoch, r.at FROM revocations r WHERE r.at > berth_now() - CAST($1 AS interval)`
)

// allKeys in place of a key's name means all tokens of an account.
const allKeys = ""

// revoke raises the epoch of a locked account, so that tokens that were issued before count
// no more: those for a key, or all.
func revoke(t Tx, id tenant.ID, r accountRow, key string) error {
	if err := t.Queue(raiseAccountEpoch, id, r.id, r.epoch+1); err != nil {
		return err
	}
	return t.Queue(insertRevocation, id, r.id, key, r.epoch+1)
}

// ListRevocations implements meta.Revocations.
func (s *Records) ListRevocations(ctx context.Context, age time.Duration) ([]meta.Revocation, error) {
	return list(ctx, s, noTenant, scanRevocation, listRevocations, s.engine.Interval(age))
}

func scanRevocation(scan Scan) (meta.Revocation, error) {
	var r meta.Revocation
	err := scan(&r.Tenant, &r.Account, &r.Key, &r.Epoch, timeScanner{&r.At})
	return r, err
}
