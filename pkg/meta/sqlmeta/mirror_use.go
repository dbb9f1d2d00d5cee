package sqlmeta

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	// It also finds out whether the host is still there.
	recordMirrorUse = `
UPDATE mirror_hosts SET last_used_at = berth_now(), last_used_from = $3
 WHERE tenant_id = $1 AND slug = $2`

	countMirrorAddresses = `SELECT count(*) FROM (SELECT 1 FROM mirror_addresses WHERE tenant_id = $1 AND slug = $2 LIMIT $3) AS counted`

	insertMirrorAddress = `
INSERT INTO mirror_addresses (tenant_id, slug, address, first_used_at) VALUES ($1, $2, $3, berth_now())
ON CONFLICT (tenant_id, slug, address) DO NOTHING`
)

// RecordMirrorUses implements meta.MirrorHosts, tenant by tenant. What fails of one tenant
// keeps out no other's.
func (s *Records) RecordMirrorUses(ctx context.Context, uses map[meta.MirrorUse]int64) error {
	byTenant := map[tenant.ID][]meta.MirrorUse{}
	for u := range uses {
		byTenant[u.Tenant] = append(byTenant[u.Tenant], u)
	}
	var failed []error
	for id, rows := range byTenant {
		// Nodes lock rows in one order.
		slices.SortFunc(rows, func(a, b meta.MirrorUse) int {
			return cmp.Or(cmp.Compare(a.Slug, b.Slug), a.Hour.Compare(b.Hour), cmp.Compare(a.Address, b.Address))
		})
		failed = append(failed, s.engine.Write(ctx, id, func(t Tx) error {
			for _, u := range rows {
				if err := recordUse(t, u, uses[u]); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return errors.Join(failed...)
}

func recordUse(t Tx, u meta.MirrorUse, times int64) error {
	n, err := t.Exec(recordMirrorUse, u.Tenant, u.Slug, textOrNull(u.Address))
	if err != nil || n == 0 {
		return err
	}
	target, op := mirrorHostTarget(u.Slug), u.Op()
	if err := recordAddress(t, u, target); err != nil {
		return err
	}
	return t.Queue(countRefusal, u.Tenant, op[:], t.Time(u.Hour), target, "mirrorHost.use", target, "", "", times)
}

// recordAddress records the first use from an address.
func recordAddress(t Tx, u meta.MirrorUse, target string) error {
	var known int64
	if u.Address == "" {
		return nil
	}
	if _, err := t.Find(countMirrorAddresses, []any{u.Tenant, u.Slug, meta.MaxMirrorAddresses}, &known); err != nil || known >= meta.MaxMirrorAddresses {
		return err
	}
	n, err := t.Exec(insertMirrorAddress, u.Tenant, u.Slug, u.Address)
	if err != nil || n == 0 {
		return err
	}
	by := meta.Cause{Op: uuid.New(), Actor: target, Address: u.Address}
	return Event(t, by, u.Tenant, "mirrorHost.first_use", target)
}
