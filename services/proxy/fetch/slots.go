package fetch

import (
	"context"
	"errors"
	"time"

	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// maxWaiting is how many flights of one tenant wait for a slot at a time, and
// waitAgain when one that is refused is to come back.
const (
	maxWaiting = 4096
	waitAgain  = 10 * time.Second
)

// newSlots bounds how many flights there are at a time. No tenant has all of them,
// and the next free one goes to the tenant that has the fewest. A flight may take
// for ever, if its upstream wants that; so each tenant is assured of a 16th, while
// these shares go no further than n beyond n.
func newSlots(n int) *fairgate.Gate[tenant.ID] {
	all := int64(n)
	return fairgate.New[tenant.ID](fairgate.Options{
		Capacity: all, Most: max(all-all/4, 1), Assured: all / 16, Beyond: all, MaxWaiting: maxWaiting,
	})
}

// enter waits for a slot as long as somebody waits for the flight.
func (f *Fetches) enter(ctx context.Context, t tenant.ID) error {
	err := f.slots.Acquire(ctx, t, 1)
	if errors.Is(err, fairgate.ErrQueueFull) {
		return fault.Wrap(err, fault.Unavailable, fault.Busy, "too many blobs wait to be fetched from upstreams; retry later").WithRetryAfter(waitAgain)
	}
	return err
}
