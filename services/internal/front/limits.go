package front

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/boot/conns"
	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	// gateTimeout is how long a request waits while its tenant, or all together, have
	// as many at work as they may.
	gateTimeout = 10 * time.Second
	// callRetry is when a call that is refused then is to come back.
	callRetry = 5 * time.Second
)

// CallLimit bounds how many calls of the data port a process works on at a time. Each holds
// bounded resources: a stream or a connection of its client, and a file, or a connection to
// the store or to another process. A slow client holds them for long, so no tenant gets all
// of them, and no HTTP/2 connection all of its tenant's.
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

// Stats are the counts of calls by result.
func (c *CallLimit) Stats() fairgate.Stats { return c.tenants.Stats() }

// Used is the number of running calls.
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
	if err := gate.AcquireWithin(ctx, owner, 1, gateTimeout); err != nil {
		return fault.Wrap(err, fault.Unavailable, fault.Busy, "too many requests in flight at this registry; retry later").WithRetryAfter(callRetry)
	}
	return nil
}

const (
	// turnTime is how long a request keeps its turn at most. One that takes longer
	// waits for its client, an upstream or a disk, and others may continue meanwhile.
	turnTime = 20 * time.Millisecond
	// onlyTenantAfter is how long no other tenant sent a request before a tenant counts as alone.
	onlyTenantAfter = 10 * time.Second
	// maxTurnsWaiting is how many requests of a tenant wait at a time. What is
	// beyond that could hardly be served within gateTimeout.
	maxTurnsWaiting = 1024
)

// Turns limit how many requests a process works on at a time while several tenants are
// active, so that a tenant with many connections barely slows one with few. A single active
// tenant is not limited. The nil *Turns bounds nothing. Safe for concurrent use.
type Turns struct {
	gate *fairgate.Gate[tenant.ID]

	mu          sync.Mutex
	last, other lastRequest // the last request, and the last one of another tenant
}

type lastRequest struct {
	by tenant.ID
	at time.Time
}

// NewTurns bounds the requests that are worked on to n at a time, of which one
// tenant has n-1 at most and one at least.
func NewTurns(n int) *Turns {
	return &Turns{gate: fairgate.New[tenant.ID](fairgate.Options{
		Capacity: int64(n), Most: max(int64(n)-1, 1), Assured: 1, Beyond: int64(n), MaxWaiting: maxTurnsWaiting,
	})}
}

// Waiting is how many requests wait for their turn now.
func (t *Turns) Waiting() int { return t.gate.Stats().Waiting }

// turn is the turn of one request; call end. It is nil for a single active tenant.
type turn struct {
	of *Turns
	by tenant.ID

	mu    sync.Mutex // a body is not always read by the request's own goroutine
	timer *time.Timer
}

// begin waits for a turn of the tenant.
func (t *Turns) begin(ctx context.Context, by tenant.ID) (*turn, error) {
	if t == nil || t.onlyTenant(by, time.Now()) {
		return nil, nil
	}
	begun := &turn{of: t, by: by}
	return begun, begun.resume(ctx)
}

// resume waits for a turn again.
func (t *turn) resume(ctx context.Context) error {
	gate := t.of.gate
	if err := gate.AcquireWithin(ctx, t.by, 1, gateTimeout); err != nil {
		return fault.Wrap(err, fault.TooMany, fault.TooManyRequests, "too many requests of this tenant in flight; retry later")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(turnTime, func() { gate.Release(t.by, 1) })
	return nil
}

// end gives the turn back, if that was not done when its time was over.
func (t *turn) end() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil && t.timer.Stop() {
		t.of.gate.Release(t.by, 1)
	}
	t.timer = nil
}

// body wraps the request's body. While it comes the request has no turn, so that a
// slow client uses up none.
func (t *turn) body(r *http.Request) io.ReadCloser {
	if t == nil || r.Body == nil || r.Body == http.NoBody {
		return r.Body
	}
	return turnBody{r.Body, t, r.Context()}
}

// turnBody gives the turn back when it is read from, and asks for another one when
// all was read.
type turnBody struct {
	io.ReadCloser
	turn *turn
	ctx  context.Context //nolint:containedctx // the request's, as the body is
}

func (b turnBody) Read(p []byte) (int, error) {
	b.turn.end()
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		// Bytes that arrived are served even without a turn: otherwise they would have to
		// be sent again.
		_ = b.turn.resume(b.ctx)
	}
	return n, err
}

// onlyTenant records a request, and says whether no other tenant was active lately.
func (t *Turns) onlyTenant(by tenant.ID, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last.by != by {
		t.other = t.last
	}
	t.last = lastRequest{by, now}
	return now.Sub(t.other.at) > onlyTenantAfter
}
