package sqlitemeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// A claim reserves the deletion for one janitor. It is not needed for safety: an
// object is never used again, so deleting it twice is harmless.
const (
	claimTime = 10 * time.Minute
	maxClaims = 100
)

// The order is that of the index objects_due.
const claimCondemned = `
UPDATE objects SET next_try = ?2
 WHERE (tenant_id, incarnation) IN (
       SELECT o.tenant_id, o.incarnation FROM objects o
        WHERE o.state = 'D' AND max(o.delete_after, coalesce(o.next_try, 0)) < ?1
        ORDER BY max(o.delete_after, coalesce(o.next_try, 0)) LIMIT ?3)
RETURNING tenant_id, incarnation, multipart_id`

// ClaimCondemned implements meta.Collector: the first half of phase D.
func (s *Store) ClaimCondemned(ctx context.Context, limit int) ([]meta.Condemned, error) {
	var claimed []meta.Condemned
	err := s.writeFor(ctx, deployment, func(t *tx) error {
		return t.list(claimCondemned, []any{t.now, t.after(claimTime), min(limit, maxClaims)}, func(scan scan) error {
			var c meta.Condemned
			err := scan(&c.Key.Tenant, &c.Key.Incarnation, &c.Multipart)
			claimed = append(claimed, c)
			return err
		})
	})
	return claimed, err
}

const forgetObject = `DELETE FROM objects WHERE tenant_id = ?1 AND incarnation = ?2 AND state = 'D'`

// ForgetObject implements meta.Collector: the second half of phase D.
func (s *Store) ForgetObject(ctx context.Context, k blob.Key) error {
	return s.writeFor(ctx, deployment, func(t *tx) error {
		_, err := t.exec(forgetObject, k.Tenant, k.Incarnation[:])
		return err
	})
}

const condemnUnknown = `
INSERT INTO objects (tenant_id, incarnation, state, created_at, delete_after) VALUES (?1, ?2, 'D', ?3, ?4)
ON CONFLICT (tenant_id, incarnation) DO NOTHING`

// CondemnUnknown implements meta.Collector. Nearly every key has a row, so it reads
// first and does not wait for the writer.
func (s *Store) CondemnUnknown(ctx context.Context, k blob.Key) error {
	if _, err := s.FindObject(ctx, k); !fault.Is(err, fault.ResourceUnknown) {
		return err
	}
	return s.writeFor(ctx, deployment, func(t *tx) error {
		_, err := t.exec(condemnUnknown, k.Tenant, k.Incarnation[:], t.now, t.after(s.life.DeleteDelay))
		return err
	})
}
