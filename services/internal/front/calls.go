package front

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// How long a call waits while its tenant, or all together, have as many as they
// may, and when one that is refused then is to come back.
const (
	callTime  = 10 * time.Second
	callRetry = 5 * time.Second
)

// Calls bounds how many calls of the data port a process works on at a time. Each
// holds what the process has a bounded amount of: a stream or a connection of its
// client, and a file, or a connection to the store or to another process. A client
// that is slow holds them for long, so no tenant has all.
type Calls struct{ gate *fairgate.Gate[tenant.ID] }

// NewCalls bounds calls to n. A quarter is kept for tenants that have at most a
// 64th.
func NewCalls(n int) *Calls {
	most := int64(n)
	kept := most / 4
	return &Calls{fairgate.New[tenant.ID](fairgate.Options{
		Capacity: most - kept, Assured: max(most/64, 1), Beyond: kept, MaxWaiting: 4 * n, // HTTP/2 has more streams than connections
	})}
}

// Stats tells what became of the calls.
func (c *Calls) Stats() fairgate.Stats { return c.gate.Stats() }

// Used is how many are at work.
func (c *Calls) Used() int64 { return c.gate.Used() }

// enter counts a call until it leaves. A nil Calls bounds nothing.
func (c *Calls) enter(ctx context.Context, t tenant.ID) error {
	if c == nil || c.gate.TryAcquire(t, 1) { // without a timer
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := c.gate.Acquire(ctx, t, 1); err != nil {
		return fault.Wrap(err, fault.Unavailable, fault.Busy, "this registry has too many requests at work; retry later").WithRetryAfter(callRetry)
	}
	return nil
}

func (c *Calls) leave(t tenant.ID) {
	if c != nil {
		c.gate.Release(t, 1)
	}
}
