package sqlmeta

import (
	"context"
	"math"

	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	makeUsageMeasuring = `INSERT INTO usage_measuring (one, day, cursor_tenant, shared) VALUES (1, 0, 0, 0) ON CONFLICT (one) DO NOTHING`
	findUsageMeasuring = `SELECT day, cursor_tenant, cursor_digest, shared FROM usage_measuring WHERE one = 1`
	lockUsageMeasuring = findUsageMeasuring + ` FOR UPDATE`
	setUsageMeasuring  = `UPDATE usage_measuring SET day = $1, cursor_tenant = $2, cursor_digest = $3, shared = $4 WHERE one = 1`

	nextMeasuredTenant = `SELECT t.id FROM tenants t WHERE t.id > $1 AND t.state <> 'deleted' ORDER BY t.id LIMIT 1`

	// What is only cached or in the trash is not stored; any second repository shares what is.
	listSharing = `
SELECT b.digest, CASE WHEN b.cached OR b.trash THEN 0 ELSE b.size END,
       (SELECT count(*) FROM (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = b.tenant_id AND rb.digest = b.digest LIMIT 2) AS counted)
  FROM blobs b WHERE b.tenant_id = $1 AND b.digest > $2 ORDER BY b.digest LIMIT $3`

	setUsageSharing = `
INSERT INTO usage_sharing (tenant_id, shared) VALUES ($1, $2) ON CONFLICT (tenant_id) DO UPDATE SET shared = excluded.shared`
)

// measuring is the row of usage_measuring.
type measuring struct {
	day    int64
	tenant tenant.ID
	digest []byte // nil: the tenant is measured
	shared int64
}

// measured is the tenant of a row that measured all.
const measured = tenant.ID(math.MaxInt64)

// MeasureSharing implements meta.UsageHours. One step runs at a time, since it locks the row of
// its progress; what is pushed or deleted meanwhile counts or not.
func (s *Records) MeasureSharing(ctx context.Context, limit int) (int, error) {
	done := 0
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		done = 0
		if _, err := t.Exec(makeUsageMeasuring); err != nil {
			return err
		}
		var m measuring
		if _, err := t.Find(t.Pick(findUsageMeasuring, lockUsageMeasuring), nil, &m.day, &m.tenant, &m.digest, &m.shared); err != nil {
			return err
		}
		hour, err := usageHour(t)
		if err != nil {
			return err
		}
		if today := hour / 24; isAnother(today, m.day) {
			m = measuring{day: today}
		}
		if m.tenant == measured {
			return nil
		}
		done = 1
		if err := m.step(t, limit); err != nil {
			return err
		}
		var digest any
		if m.digest != nil {
			digest = m.digest
		}
		return t.Queue(setUsageMeasuring, m.day, m.tenant, digest, m.shared)
	})
	return done, err
}

// step measures some blobs of a tenant.
func (m *measuring) step(t Tx, limit int) error {
	if m.digest == nil {
		next := measured
		if _, err := t.Find(nextMeasuredTenant, []any{m.tenant}, &next); err != nil {
			return err
		}
		*m = measuring{day: m.day, tenant: next}
		if next == measured {
			return nil
		}
		m.digest = []byte{}
	}
	n := 0
	err := t.List(listSharing, []any{m.tenant, m.digest, limit}, func(scan Scan) error {
		var digest []byte
		var size, holders int64
		if err := scan(&digest, &size, &holders); err != nil {
			return err
		}
		n++
		m.digest = digest
		if holders > 1 {
			m.shared += size
		}
		return nil
	})
	if err != nil || n == limit {
		return err
	}
	m.digest = nil
	return t.Queue(setUsageSharing, m.tenant, m.shared)
}
