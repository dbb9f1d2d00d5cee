package sqlmeta

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	usageHourSQLite   = `SELECT berth_now() / 3600000000`
	usageHourPostgres = `SELECT CAST(floor(extract(epoch FROM berth_now()) / 3600) AS bigint)`

	recordUsageBatch = `
INSERT INTO usage_recorders AS k (id, number, seen_at) VALUES ($1, $2, berth_now())
ON CONFLICT (id) DO UPDATE SET number = excluded.number, seen_at = excluded.seen_at
 WHERE k.number < excluded.number`

	addUsage = `
ON CONFLICT (tenant_id, hour) DO UPDATE SET pulls = k.pulls + excluded.pulls, pushes = k.pushes + excluded.pushes,
       egress = k.egress + excluded.egress, received = k.received + excluded.received,
       cache_saved = k.cache_saved + excluded.cache_saved, sharing_saved = k.sharing_saved + excluded.sharing_saved`

	// Rows are locked in the order of their tenants, as by all who write several.
	addUsagePostgres = `
INSERT INTO usage_hours AS k (tenant_id, hour, pulls, pushes, egress, received, cache_saved, sharing_saved)
SELECT u.tenant, $1, u.pulls, u.pushes, u.egress, u.received, u.cache_saved, u.sharing_saved
  FROM json_to_recordset(CAST($2 AS json)) AS u (tenant bigint, pulls bigint, pushes bigint, egress bigint, received bigint, cache_saved bigint, sharing_saved bigint)
 ORDER BY u.tenant` + addUsage
	addUsageSQLite = `
INSERT INTO usage_hours AS k (tenant_id, hour, pulls, pushes, egress, received, cache_saved, sharing_saved)
SELECT j.value ->> 'tenant', $1, j.value ->> 'pulls', j.value ->> 'pushes', j.value ->> 'egress', j.value ->> 'received', j.value ->> 'cache_saved', j.value ->> 'sharing_saved'
  FROM json_each($2) j
 WHERE TRUE` + addUsage

	makeUsageSampling = `INSERT INTO usage_sampling (one, hour, cursor_tenant) VALUES (1, 0, 0) ON CONFLICT (one) DO NOTHING`
	findUsageSampling = `SELECT hour, cursor_tenant FROM usage_sampling WHERE one = 1`
	lockUsageSampling = findUsageSampling + ` FOR UPDATE`
	setUsageSampling  = `UPDATE usage_sampling SET hour = $1, cursor_tenant = $2 WHERE one = 1`

	sampleUsage = `
INSERT INTO usage_hours AS k (tenant_id, hour, sampled, stored, shared, cached, trash)
SELECT counted.tenant_id, $1, 1, counted.stored, CASE WHEN counted.shared < counted.stored THEN counted.shared ELSE counted.stored END, counted.cached, counted.trash
  FROM (SELECT u.tenant_id, u.used + u.overhead - u.cached - u.trash AS stored, u.cached, u.trash,
               coalesce((SELECT s.shared FROM usage_sharing s WHERE s.tenant_id = u.tenant_id), 0) AS shared
          FROM usage u
         WHERE u.tenant_id > $2 AND (SELECT t.state FROM tenants t WHERE t.id = u.tenant_id) <> 'deleted' ORDER BY u.tenant_id LIMIT $3) AS counted
 WHERE TRUE
ON CONFLICT (tenant_id, hour) DO UPDATE SET sampled = 1, stored = excluded.stored, shared = excluded.shared, cached = excluded.cached, trash = excluded.trash
RETURNING tenant_id`

	oldUsageSQLite     = `SELECT h.tenant_id, h.hour FROM usage_hours h WHERE h.hour < $1 ORDER BY h.hour LIMIT $2`
	oldUsagePostgres   = oldUsageSQLite + ` FOR UPDATE SKIP LOCKED`
	deleteUsage        = `DELETE FROM usage_hours WHERE tenant_id = $1 AND hour = $2`
	trimUsageRecorders = `DELETE FROM usage_recorders WHERE seen_at < berth_now() - CAST($1 AS interval)`

	usageSums = ` AS period, CAST(sum(pulls) AS bigint), CAST(sum(pushes) AS bigint), CAST(sum(egress) AS bigint), CAST(sum(received) AS bigint),
       CAST(sum(cache_saved) AS bigint), CAST(sum(sharing_saved) AS bigint),
       CAST(sum(sampled) AS bigint), CAST(sum(stored) AS bigint), CAST(sum(shared) AS bigint), CAST(sum(cached) AS bigint), CAST(sum(trash) AS bigint)
  FROM usage_hours WHERE tenant_id = $1 AND hour >= $2 AND hour < $3
 GROUP BY period ORDER BY period LIMIT $4`
	usageByHour          = `SELECT hour` + usageSums
	usageByDay           = `SELECT hour / 24 * 24` + usageSums
	usageByMonthSQLite   = `SELECT unixepoch(hour * 3600, 'unixepoch', 'start of month') / 3600` + usageSums
	usageByMonthPostgres = `SELECT CAST(extract(epoch FROM date_trunc('month', to_timestamp(hour * 3600) AT TIME ZONE 'UTC')) / 3600 AS bigint)` + usageSums
)

// usageRow is a meta.TenantUsage as the statements read it.
type usageRow struct {
	Tenant       tenant.ID `json:"tenant"`
	Pulls        int64     `json:"pulls"`
	Pushes       int64     `json:"pushes"`
	Egress       int64     `json:"egress"`
	Received     int64     `json:"received"`
	CacheSaved   int64     `json:"cache_saved"`
	SharingSaved int64     `json:"sharing_saved"`
}

// hourOf is the number of an hour, as rows have it.
func hourOf(t time.Time) int64 { return t.Unix() / int64(time.Hour/time.Second) }

// timeOf is the beginning of the hour of a number.
func timeOf(hour int64) time.Time { return time.Unix(hour*int64(time.Hour/time.Second), 0).UTC() }

// isAnother says whether a sample of the hour or day done does not do now. One that is just
// before may be that of a node whose clock is behind; one long before, of a clock that was wrong.
func isAnother(now, done int64) bool { return now > done || now < done-1 }

// RecordUsage implements meta.UsageHours.
func (s *Records) RecordUsage(ctx context.Context, b meta.UsageBatch) error {
	rows := make([]usageRow, len(b.Tenants))
	for i, u := range b.Tenants {
		rows[i] = usageRow{u.Tenant, u.Pulls, u.Pushes, u.EgressBytes, u.ReceivedBytes, u.CacheSavedBytes, u.SharingSavedBytes}
	}
	slices.SortFunc(rows, func(a, b usageRow) int { return cmp.Compare(a.Tenant, b.Tenant) })
	body, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	return s.engine.Write(ctx, noTenant, func(t Tx) error {
		n, err := t.Exec(recordUsageBatch, b.Recorder[:], b.Number)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrAlreadyDone
		}
		hour, err := usageHour(t)
		if err != nil {
			return err
		}
		return t.Queue(t.Pick(addUsageSQLite, addUsagePostgres), hour, string(body))
	})
}

// usageHour is the hour of the transaction.
func usageHour(t Tx) (int64, error) {
	var hour int64
	_, err := t.Find(t.Pick(usageHourSQLite, usageHourPostgres), nil, &hour)
	return hour, err
}

// SampleUsage implements meta.UsageHours. One step runs at a time, since it locks the row of
// its progress.
func (s *Records) SampleUsage(ctx context.Context, limit int) (int, error) {
	sampled := 0
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		sampled = 0
		var hour, after int64
		if _, err := t.Exec(makeUsageSampling); err != nil {
			return err
		}
		if _, err := t.Find(t.Pick(findUsageSampling, lockUsageSampling), nil, &hour, &after); err != nil {
			return err
		}
		now, err := usageHour(t)
		if err != nil {
			return err
		}
		if isAnother(now, hour) {
			hour, after = now, 0
		}
		if after == math.MaxInt64 {
			return nil
		}
		err = t.List(sampleUsage, []any{hour, after, limit}, func(scan Scan) error {
			var id int64
			err := scan(&id)
			sampled, after = sampled+1, max(after, id)
			return err
		})
		if err != nil {
			return err
		}
		if sampled < limit {
			after = math.MaxInt64
		}
		return t.Queue(setUsageSampling, hour, after)
	})
	return sampled, err
}

// trimUsageAtOnce bounds a transaction, for which others of SQLite wait.
const trimUsageAtOnce = 200

// usageHourKey names a row.
type usageHourKey struct {
	tenant tenant.ID
	hour   int64
}

// TrimUsage implements meta.UsageHours.
func (s *Records) TrimUsage(ctx context.Context, limit int) (int, error) {
	trimmed := 0
	for trimmed < limit {
		var rows []usageHourKey
		atOnce := min(limit-trimmed, trimUsageAtOnce)
		err := s.engine.Write(ctx, noTenant, func(t Tx) error {
			rows = nil
			hour, err := usageHour(t)
			if err != nil {
				return err
			}
			err = t.List(t.Pick(oldUsageSQLite, oldUsagePostgres), []any{hourOf(meta.UsageKeptSince(timeOf(hour))), atOnce}, func(scan Scan) error {
				var k usageHourKey
				err := scan(&k.tenant, &k.hour)
				rows = append(rows, k)
				return err
			})
			if err != nil {
				return err
			}
			for _, k := range rows {
				if err := t.Queue(deleteUsage, k.tenant, k.hour); err != nil {
					return err
				}
			}
			return t.Queue(trimUsageRecorders, t.Interval(meta.UsageRecorderKept))
		})
		trimmed += len(rows)
		if err != nil || len(rows) < atOnce {
			return trimmed, err
		}
	}
	return trimmed, nil
}

// UsagePeriods implements meta.UsageHours.
func (s *Records) UsagePeriods(ctx context.Context, id tenant.ID, q meta.UsageQuery) ([]meta.UsagePeriod, error) {
	statement := usageByHour
	switch q.Unit {
	case meta.UsageDay:
		statement = usageByDay
	case meta.UsageMonth:
		statement = s.engine.Pick(usageByMonthSQLite, usageByMonthPostgres)
	}
	from, to := int64(0), int64(math.MaxInt64)
	if !q.From.IsZero() {
		from = hourOf(q.From.Add(time.Hour - 1))
	}
	if !q.To.IsZero() {
		to = hourOf(q.To.Add(time.Hour - 1))
	}
	return list(ctx, s, id, func(scan Scan) (meta.UsagePeriod, error) {
		var p meta.UsagePeriod
		var hour int64
		err := scan(&hour, &p.Pulls, &p.Pushes, &p.EgressBytes, &p.ReceivedBytes, &p.CacheSavedBytes, &p.SharingSavedBytes,
			&p.SampledHours, &p.StoredByteHours, &p.SharedByteHours, &p.CachedByteHours, &p.TrashByteHours)
		p.Begin = timeOf(hour)
		return p, err
	}, statement, id, from, to, q.Size)
}
