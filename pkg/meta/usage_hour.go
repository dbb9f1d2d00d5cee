package meta

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/tenant"
)

// UsageCount is what passed through a tenant's hosts.
type UsageCount struct {
	Pulls             int64 // manifests that were answered to a GET
	Pushes            int64 // manifests that were stored by a PUT
	EgressBytes       int64 // of manifests and blobs that were sent to clients, also by redirects
	ReceivedBytes     int64 // of bodies that clients sent to push manifests and blobs
	CacheSavedBytes   int64 // those of EgressBytes that came from a cache
	SharingSavedBytes int64 // of blobs that were pushed or mounted and that the tenant had already
}

// TenantUsage is a part of what passed through a tenant's hosts.
type TenantUsage struct {
	Tenant tenant.ID
	UsageCount
}

// UsageBatch is what a process writes of what it counted.
type UsageBatch struct {
	Recorder uuid.UUID     // the process
	Number   int64         // 1 and up; a batch that is repeated takes effect once
	Tenants  []TenantUsage // each tenant once
}

// UsagePeriod is the sum of hours. Levels are in byte-hours: the bytes that were there when an
// hour was sampled, for each hour that was.
type UsagePeriod struct {
	Begin time.Time
	UsageCount
	SampledHours    int64
	StoredByteHours int64 // what is neither only cached nor only in the trash
	SharedByteHours int64 // of these, blobs that several repositories of the tenant hold, as measured last
	CachedByteHours int64 // as Tenant.Cached
	TrashByteHours  int64 // what only deleted manifests stand for
}

// UsageUnit is how long the periods of a list are.
type UsageUnit string

// The units, all in UTC.
const (
	UsageHour  UsageUnit = "hour"
	UsageDay   UsageUnit = "day"
	UsageMonth UsageUnit = "month"
)

// Floor is the beginning of the period that has t.
func (u UsageUnit) Floor(t time.Time) time.Time {
	t = t.UTC()
	switch u {
	case UsageMonth:
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	case UsageDay:
		return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	default:
		return t.Truncate(time.Hour)
	}
}

// Next is the beginning of the period after the one that has t.
func (u UsageUnit) Next(t time.Time) time.Time {
	t = u.Floor(t)
	switch u {
	case UsageMonth:
		return t.AddDate(0, 1, 0)
	case UsageDay:
		return t.AddDate(0, 0, 1)
	default:
		return t.Add(time.Hour)
	}
}

// UsageQuery selects periods. A period is the sum of those of its hours that begin at From or
// later, and before To.
type UsageQuery struct {
	From, To time.Time // zero: no bound
	Unit     UsageUnit
	Size     int // at most so many periods
}

const (
	// UsageFlush is the time between two batches of a process.
	UsageFlush = 10 * time.Second
	// UsageRecorderKept is how long a process that writes nothing may repeat its last batch.
	UsageRecorderKept = 7 * 24 * time.Hour
)

// UsageKeptSince is the first hour that is kept at a time: that of the month 13 months before.
// Months go as wholes, so that the oldest one in a list is not less than it was.
func UsageKeptSince(now time.Time) time.Time { return UsageMonth.Floor(now).AddDate(0, -13, 0) }

// UsageHours keeps what tenants used, by the hour of the store's clock. An hour in which
// nothing passed, and that was not sampled, has no row. Rows outlive their tenant, under its
// id.
type UsageHours interface {
	// RecordUsage adds a batch to the hour that it is written in.
	RecordUsage(ctx context.Context, b UsageBatch) error
	// SampleUsage writes what is stored of the next tenants that were not sampled in this
	// hour, and returns how many; 0 when all were.
	SampleUsage(ctx context.Context, limit int) (int, error)
	// MeasureSharing measures, once a day, how much of what each tenant stores several of its
	// repositories hold, by a step of at most limit blobs. It returns 0 when all were measured.
	MeasureSharing(ctx context.Context, limit int) (int, error)
	// TrimUsage deletes hours before UsageKeptSince.
	TrimUsage(ctx context.Context, limit int) (int, error)
	// UsagePeriods lists periods of a tenant, the oldest first.
	UsagePeriods(ctx context.Context, t tenant.ID, q UsageQuery) ([]UsagePeriod, error)
}
