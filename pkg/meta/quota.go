package meta

import (
	"context"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Hosted is what registries hold: rows that are there, also of deleted repositories until these
// are removed for good. Nothing of it is cached.
type Hosted struct {
	Bytes        int64 // of the distinct blobs that no delete released, and of manifests
	Repositories int64
	Manifests    int64
	Tags         int64
	Counting     bool // what is there is still being counted, so the numbers are too low
}

// Quotas keeps the counts that quotas are held against: tenant.Settings.Quota of a registry,
// and Tenant.MaxHosted of all registries of a tenant. What would grow one past its quota is
// refused by fault.QuotaExceeded in its own transaction. Above a lowered quota, what does not
// grow it works.
type Quotas interface {
	// CountHosted counts, in bounded steps, what was there before the store kept counts, and
	// what RecountHosted named; it returns how many rows it did. Writes between two steps are
	// counted. Until all of a tenant is counted, quotas are held against what was.
	CountHosted(ctx context.Context, limit int) (int, error)
	// RecountHosted makes CountHosted begin again with the tenant.
	RecountHosted(ctx context.Context, by Cause, id tenant.ID) error
}
