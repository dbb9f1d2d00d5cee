package janitor

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/berth-registry/berth/pkg/lease"
)

// The full sweeps read every row, or list every object, so they run seldom;
// evictions read all rows of some caches.
const (
	evictEvery         = 5 * time.Minute
	sweepEvery         = 7 * 24 * time.Hour
	reconcileEvery     = 24 * time.Hour
	minFirstSweepDelay = time.Hour // after the start, so that restarts do not cause more sweeps
)

// maxTurnedAway is how often in a row a janitor leaves a task to the holder of the
// lease. Then it runs the task anyway: a lease that is never granted must not stop
// the work, which any number of janitors may do at once.
const maxTurnedAway = 3

// exclusiveTask is work over the whole store that one janitor does for all. It keeps
// the lease between runs, so that the other janitors do not run it.
type exclusiveTask struct {
	key        lease.Key
	leases     lease.Leases
	held       lease.Lease // nil when it has none
	turnedAway int         // times in a row that the lease was refused
}

func newExclusiveTask(l lease.Leases, name string) *exclusiveTask {
	return &exclusiveTask{leases: l, key: lease.Key{Kind: "janitor", Name: name}}
}

// shouldRun reports whether this janitor runs the task now.
func (d *exclusiveTask) shouldRun(ctx context.Context) bool {
	if d.held != nil {
		select {
		case <-d.held.Lost():
			d.release()
		default:
			return true
		}
	}
	held, _, ok := d.leases.Acquire(ctx, d.key, "")
	if ok {
		d.held, d.turnedAway = held, 0
		return true
	}
	if d.turnedAway++; d.turnedAway <= maxTurnedAway {
		return false
	}
	d.turnedAway = 0
	return true
}

// release releases the lease.
func (d *exclusiveTask) release() {
	if d.held != nil {
		d.held.Release()
		d.held = nil
	}
}

// firstSweepDelay is the time from start to the first full sweep. It is random, so
// that nodes started together do not sweep together.
func firstSweepDelay() time.Duration {
	return minFirstSweepDelay + rand.N(minFirstSweepDelay) //nolint:gosec // nothing depends on it
}
