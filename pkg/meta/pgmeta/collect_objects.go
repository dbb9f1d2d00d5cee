package pgmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
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
WITH due AS (
  SELECT o.tenant_id, o.incarnation FROM objects o
   WHERE o.state = 'D' AND greatest(o.delete_after, o.next_try) < berth_now()
   ORDER BY greatest(o.delete_after, o.next_try) LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE objects o SET next_try = berth_now() + $1::interval
  FROM due WHERE o.tenant_id = due.tenant_id AND o.incarnation = due.incarnation
RETURNING o.tenant_id, o.incarnation, o.multipart_id`

// ClaimCondemned implements meta.Collector: the first half of phase D.
func (s *Store) ClaimCondemned(ctx context.Context, limit int) ([]meta.Condemned, error) {
	var claimed []meta.Condemned
	err := s.write(ctx, noTenant, func(t *tx) error {
		claimed = nil
		t.queue(claimCondemned, claimTime, min(limit, maxClaims)).Query(each(func(scan scan) error {
			var c meta.Condemned
			err := scan(&c.Key.Tenant, uuidScanner{&c.Key.Incarnation}, &c.Multipart)
			claimed = append(claimed, c)
			return err
		}))
		return nil
	})
	return claimed, err
}

// Where a statement knows an object's key, it compares the state as text. Otherwise
// Postgres may read the index of all that is condemned or staged, which looks empty by
// statistics of before.
const forgetObject = `DELETE FROM objects WHERE tenant_id = $1 AND incarnation = $2 AND state::text = 'D'`

// ForgetObject implements meta.Collector: the second half of phase D.
func (s *Store) ForgetObject(ctx context.Context, k blob.Key) error {
	return s.write(ctx, noTenant, func(t *tx) error {
		t.queue(forgetObject, k.Tenant, pgUUID(k.Incarnation))
		return nil
	})
}

const condemnUnknown = `
INSERT INTO objects (tenant_id, incarnation, state, created_at, delete_after)
VALUES ($1, $2, 'D', berth_now(), berth_now() + $3::interval)
ON CONFLICT (tenant_id, incarnation) DO NOTHING`

// CondemnUnknown implements meta.Collector.
func (s *Store) CondemnUnknown(ctx context.Context, k blob.Key) error {
	return s.write(ctx, noTenant, func(t *tx) error {
		t.queue(condemnUnknown, k.Tenant, pgUUID(k.Incarnation), s.life.DeleteDelay)
		return nil
	})
}
