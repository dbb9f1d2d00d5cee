package front

import (
	"context"
	"math"
	"time"

	"github.com/berth-registry/berth/pkg/boot/conns"
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

// CallLimit bounds how many calls of the data port a process works on at a time. Each
// holds what the process has a bounded amount of: a stream or a connection of its
// client, and a file, or a connection to the store or to another process. A client
// that is slow holds them for long, so no tenant has all, and no connection with
// many streams has all of its tenant's.
type CallLimit struct {
	tenants     *fairgate.Gate[tenant.ID]
	connections *fairgate.Gate[*conns.Conn]
}

// minStreams is how many calls a connection of HTTP/2 may always have at work.
const minStreams = 8

// NewCallLimit bounds calls to n. A quarter is kept for tenants that have at most a
// 64th, which is also what one connection of HTTP/2 has at most.
func NewCallLimit(n int) *CallLimit {
	most := int64(n)
	kept := most / 4
	return &CallLimit{
		tenants: fairgate.New[tenant.ID](fairgate.Options{
			Capacity: most - kept, Assured: max(most/64, 1), Beyond: kept, MaxWaiting: 4 * n, // HTTP/2 has more streams than connections
		}),
		connections: fairgate.New[*conns.Conn](fairgate.Options{Capacity: math.MaxInt64, Most: max(most/64, minStreams)}),
	}
}

// Stats tells what became of the calls.
func (c *CallLimit) Stats() fairgate.Stats { return c.tenants.Stats() }

// Used is how many are at work.
func (c *CallLimit) Used() int64 { return c.tenants.Used() }

// enter counts a call of the tenant until it leaves. The connection is given where
// it can have many calls at a time, all of one client; else it is nil. A nil CallLimit
// bounds nothing.
func (c *CallLimit) enter(ctx context.Context, t tenant.ID, conn *conns.Conn) error {
	if c == nil {
		return nil
	}
	if conn == nil {
		return waitFor(ctx, c.tenants, t)
	}
	if err := waitFor(ctx, c.connections, conn); err != nil {
		return err
	}
	err := waitFor(ctx, c.tenants, t)
	if err != nil {
		c.connections.Release(conn, 1)
	}
	return err
}

func (c *CallLimit) leave(t tenant.ID, conn *conns.Conn) {
	if c == nil {
		return
	}
	c.tenants.Release(t, 1)
	if conn != nil {
		c.connections.Release(conn, 1)
	}
}

func waitFor[K comparable](ctx context.Context, gate *fairgate.Gate[K], owner K) error {
	if gate.TryAcquire(owner, 1) { // without a timer
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := gate.Acquire(ctx, owner, 1); err != nil {
		return fault.Wrap(err, fault.Unavailable, fault.Busy, "this registry has too many requests at work; retry later").WithRetryAfter(callRetry)
	}
	return nil
}
