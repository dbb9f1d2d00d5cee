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
	evictEvery     = 5 * time.Minute
	sweepEvery     = 7 * 24 * time.Hour
	reconcileEvery = 24 * time.Hour
	firstFull      = time.Hour // after the start at the earliest, so that restarts do not add up
)

// patience is how often in a row a janitor leaves a duty to another. Then it
// does it all the same: a lease that is never granted must not stop the work,
// which any number of janitors may do at once.
const patience = 3

// duty is work over the whole store that one janitor does for all. It keeps the
// lease from one run to the next, so that the others are turned away, whenever
// in the day or week their turn comes.
type duty struct {
	key    lease.Key
	leases lease.Leases
	held   lease.Lease // nil when it has none
	turned int         // times in a row that it was turned away
}

func newDuty(l lease.Leases, name string) *duty {
	return &duty{leases: l, key: lease.Key{Kind: "janitor", Name: name}}
}

// ours says whether this janitor is to do it now.
func (d *duty) ours(ctx context.Context) bool {
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
		d.held, d.turned = held, 0
		return true
	}
	if d.turned++; d.turned <= patience {
		return false
	}
	d.turned = 0
	return true
}

// release leaves the duty to the others.
func (d *duty) release() {
	if d.held != nil {
		d.held.Release()
		d.held = nil
	}
}

// first is when a full sweep runs first: nodes that were started together
// spread theirs.
func first() time.Duration {
	return firstFull + rand.N(firstFull) //nolint:gosec // nothing depends on it
}
