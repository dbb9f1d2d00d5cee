package janitor

import (
	"context"
	"errors"
	"time"
)

// usageEvery is the time between two looks whether an hour has to be sampled: about as late as
// that is done.
const usageEvery = time.Minute

// runUsage samples what tenants store, each hour, and deletes old hours.
func (j *Janitor) runUsage(ctx context.Context) {
	next := time.NewTimer(retryDelay)
	defer next.Stop()
	sampler := newExclusiveTask(j.cfg.Leases, "usage")
	defer sampler.release()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if sampler.shouldRun(ctx) {
			j.runLogged(ctx, "usage", j.Usage)
		}
		next.Reset(usageEvery)
	}
}

// Usage measures what repositories of tenants share, where that was not done on this day,
// samples what tenants store, where that was not done in this hour, and deletes old hours, each
// for a bounded time.
func (j *Janitor) Usage(ctx context.Context) error {
	if err := j.guard(ctx); err != nil {
		return err
	}
	return errors.Join(j.quietly(ctx, j.sharing, gentle), j.quietly(ctx, j.sample, full), j.quietly(ctx, j.oldUsage, gentle))
}
