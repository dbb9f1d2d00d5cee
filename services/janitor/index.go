package janitor

import (
	"context"
	"time"
)

// indexEvery is the time between two looks for changes of what can be searched: about as
// late as a push is found.
const indexEvery = 2 * time.Second

// runIndex keeps the index of the search up to date.
func (j *Janitor) runIndex(ctx context.Context) {
	next := time.NewTimer(indexEvery)
	defer next.Stop()
	indexer := newExclusiveTask(j.cfg.Leases, "index")
	defer indexer.release()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if indexer.shouldRun(ctx) {
			j.runLogged(ctx, "index", j.Index)
		}
		next.Reset(indexEvery)
	}
}

// Index indexes what changed, and what is older than the index, for a bounded time.
func (j *Janitor) Index(ctx context.Context) error {
	if err := j.guard(ctx); err != nil {
		return err
	}
	return j.quietly(ctx, j.index, full)
}
