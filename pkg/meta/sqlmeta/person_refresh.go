package sqlmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

const (
	tryRefresh = `
UPDATE account_identities SET refresh_tried_at = berth_now(), due_at = berth_now() + CAST($4 AS interval)
 WHERE tenant_id = $1 AND account_id = $2 AND refresh_token = $3 AND (refresh_tried_at IS NULL OR refresh_tried_at <= berth_now() - CAST($4 AS interval))`

	keepRefresh = `
UPDATE account_identities SET refresh_token = $4, refresh_tried_at = NULL WHERE tenant_id = $1 AND account_id = $2 AND refresh_token = $3`

	loseRefresh = `
UPDATE account_identities SET refresh_token = NULL, refresh_tried_at = NULL, due_at = NULL, groups_until = berth_now(), read_at = berth_now()
 WHERE tenant_id = $1 AND account_id = $2 AND refresh_token = $3`

	finishLogin = `INSERT INTO finished_logins (hash, ends_at) VALUES ($1, berth_now() + CAST($2 AS interval)) ON CONFLICT (hash) DO NOTHING`
	trimLogins  = `DELETE FROM finished_logins WHERE ends_at < berth_now()`
)

// TryRefresh implements meta.PersonRefreshes.
func (s *Records) TryRefresh(ctx context.Context, p meta.Person) (bool, error) {
	var tried int64
	err := s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		var err error
		tried, err = t.Exec(tryRefresh, p.Tenant, p.ID, p.Refresh, t.Interval(meta.RefreshTry))
		return err
	})
	return tried == 1, err
}

// KeepRefresh implements meta.PersonRefreshes.
func (s *Records) KeepRefresh(ctx context.Context, p meta.Person, refresh []byte) error {
	return s.engine.Write(ctx, p.Tenant, func(t Tx) error { return t.Queue(keepRefresh, p.Tenant, p.ID, p.Refresh, refresh) })
}

// LoseRefresh implements meta.PersonRefreshes.
func (s *Records) LoseRefresh(ctx context.Context, p meta.Person) error {
	return s.engine.Write(ctx, p.Tenant, func(t Tx) error {
		if err := t.Queue(raiseAccessVersion, p.Tenant); err != nil { // tenants are locked before people
			return err
		}
		return t.Queue(loseRefresh, p.Tenant, p.ID, p.Refresh)
	})
}

// FinishLogin implements meta.PersonRefreshes.
func (s *Records) FinishLogin(ctx context.Context, state [32]byte, life time.Duration) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error {
		noted, err := t.Exec(finishLogin, state[:], t.Interval(life))
		if err == nil && noted == 0 {
			err = fault.New(fault.Conflict, fault.AlreadyExists, "this login has ended before; begin another one")
		}
		return err
	})
}
