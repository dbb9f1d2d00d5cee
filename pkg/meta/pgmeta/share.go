package pgmeta

import (
	"context"
	"errors"
	"time"

	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// noTenant stands for work of no tenant: the operator's, the janitor's, and what
// finds out whose a request is.
const noTenant tenant.ID = 0

// prober is the owner of the connection that readiness asks by. Tenants have
// positive ids.
const prober tenant.ID = -1

// busyTime is how long a request waits for a connection while the server
// answers. Only then it is refused, and told to come back after busyRetry.
const (
	busyTime  = 30 * time.Second
	busyRetry = 5 * time.Second
)

// maxWaiting is how many requests of one tenant wait at a time. What is beyond
// that could not be served within busyTime.
const maxWaiting = 4096

// newConnGate says who may use a connection next. No tenant has more than
// half of them, a quarter is left to tenants that have at most a sixteenth, so
// that a few cannot take all; and of those that wait, the one that has the fewest
// gets the next.
func newConnGate(n int64) *fairgate.Gate[tenant.ID] {
	kept := n / 4
	return fairgate.New[tenant.ID](fairgate.Options{
		Capacity: n - kept, Most: max(1, n/2), Assured: max(1, n/16), Beyond: kept, MaxWaiting: maxWaiting,
	})
}

// errDown ends the waits of those who wait for a connection of a server that
// does not answer.
type errDown struct{ error }

func (e errDown) Unwrap() error { return e.error }

// enter waits for a share of the connections, for busyTime at most and only
// while the server answers.
func (s *Store) enter(ctx context.Context, owner tenant.ID) error {
	err := s.connGate.AcquireWithin(ctx, owner, 1, busyTime)
	var gone errDown
	switch {
	case err == nil:
		return nil
	case errors.As(err, &gone):
		return down(gone.error)
	default:
		return busy(err)
	}
}

func busy(err error) error {
	return fault.Wrap(err, fault.Unavailable, fault.Busy,
		"all connections to the metadata store are in use; retry later").WithRetryAfter(busyRetry)
}
