package web

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// looks is how often per grace a running wait is checked, if the system reports how
// much the client has received.
const looks = 4

// clock keeps the debt of one direction of one request. It checks the wait from
// time to time instead of setting a deadline for each: small reads and writes stay
// cheap, and bytes received during a long write count.
type clock struct {
	pace   Pace
	rate   int64 // bytes per second that pay the debt off as time adds to it
	pauses *Pauses
	expire func()                // fails the wait, and all to come
	taken  func() (uint64, bool) // bytes that the client has confirmed; nil where the system does not tell
	waited *atomic.Int64         // nanoseconds that the request has been waited for, in both directions

	mu       sync.Mutex
	timer    *time.Timer // of the next look
	armed    bool
	waiting  bool
	since    time.Time     // what is counted of the wait
	ahead    time.Duration // what the wait may take longer, for bytes that will have moved when it ends
	seen     uint64        // of taken, at the last look at this wait
	known    bool          // seen is set
	debt     time.Duration
	transfer bool
	tenant   int64
	paused   bool // counted in pauses
	closed   bool
	failed   error
	failedAt time.Time
}

// start begins a wait for the client. moves is how many bytes will have moved
// when it ends; 0 where it ends with the first.
func (c *clock) start(moves int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return c.failed
	}
	c.waiting, c.known, c.ahead = true, false, 0
	if c.taken == nil {
		c.ahead = c.worth(moves)
	}
	c.since = time.Now()
	if !c.armed && !c.closed {
		c.arm()
	}
	return nil
}

// stop ends a wait in which that many bytes have moved, and returns why the
// request is over, if it is.
func (c *clock) stop(moved int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count()
	c.waiting = false
	c.earn(moved)
	return c.failed
}

func (c *clock) count() {
	now := time.Now()
	c.debt += now.Sub(c.since)
	if !c.transfer {
		c.waited.Add(int64(now.Sub(c.since)))
	}
	c.since = now
}

func (c *clock) earn(bytes int64) {
	c.debt = max(0, c.debt-c.worth(bytes))
	if c.debt < c.pace.Grace {
		c.resume()
	}
}

// resume ends a pause, if there is one.
func (c *clock) resume() {
	if c.paused {
		c.paused = false
		c.pauses.remove(c)
	}
}

// worth is the time that n bytes may take.
func (c *clock) worth(n int64) time.Duration {
	return time.Duration(float64(n) / float64(c.rate) * float64(time.Second))
}

// left is how long the wait may still last.
func (c *clock) left() time.Duration {
	if c.transfer {
		return c.pace.Pause + c.ahead - c.debt
	}
	return min(c.pace.Grace+c.ahead-c.debt, c.pace.Bound-time.Duration(c.waited.Load()))
}

// arm sets the next look: when the wait is to end, when it counts as a pause, or
// when the client may have taken something.
func (c *clock) arm() {
	next := c.left()
	if c.transfer && !c.paused {
		next = min(next, c.pace.Grace+c.ahead-c.debt)
	}
	if c.taken != nil {
		next = min(next, c.pace.Grace/looks)
	}
	next = max(next, time.Millisecond)
	c.armed = true
	if c.timer == nil {
		c.timer = time.AfterFunc(next, c.look)
	} else {
		c.timer.Reset(next)
	}
}

// look is run by the timer.
func (c *clock) look() {
	if longest := c.check(); longest != nil {
		longest.end(errTooMany)
	}
}

// check returns the transfer that must end so that this one may pause.
func (c *clock) check() *clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = false
	if !c.waiting || c.closed || c.failed != nil {
		return nil // the next wait arms it
	}
	c.count()
	c.progress()
	if c.left() <= 0 {
		c.fail(errTooSlow)
		return nil
	}
	var longest *clock
	if c.transfer && !c.paused && c.debt >= c.pace.Grace+c.ahead {
		c.paused = true
		longest = c.pauses.add(c)
	}
	c.arm()
	return longest
}

// progress accounts for what the client has confirmed since the last look: a
// write ends when the system has taken it, which says little of the client.
func (c *clock) progress() {
	if c.taken == nil {
		return
	}
	now, ok := c.taken()
	if ok && c.known && now > c.seen {
		c.earn(int64(now - c.seen))
	}
	c.seen, c.known = now, ok
}

// lift makes the request a transfer.
func (c *clock) lift(tenant int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transfer, c.tenant = true, tenant
}

// lower is the inverse of lift, and gives a grace from now on.
func (c *clock) lower() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transfer, c.debt, c.since = false, 0, time.Now()
	c.waited.Store(0)
	c.resume()
	if c.armed {
		c.arm()
	}
}

func (c *clock) isTransfer() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.transfer
}

// owed is what a request owes while it waits that is not a transfer, or was ended.
func (c *clock) owed(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.waiting || c.transfer && c.failed == nil || c.closed {
		return 0
	}
	return max(0, c.debt+now.Sub(c.since)-c.ahead)
}

// end ends the request.
func (c *clock) end(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && c.failed == nil {
		c.fail(why)
	}
}

func (c *clock) fail(why error) {
	c.failed, c.failedAt = why, time.Now()
	c.resume()
	c.pauses.ended(why)
	c.expire()
}

// ended is why the request was ended; nil if it was not.
func (c *clock) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// endedFor is how long ago the request was ended, while it still waits.
func (c *clock) endedFor(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil || !c.waiting || c.closed {
		return 0
	}
	return now.Sub(c.failedAt)
}

// close releases the connection to the next request.
func (c *clock) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.waiting = true, false
	if c.timer != nil {
		c.timer.Stop()
	}
	c.resume()
}

var (
	errTooSlow = errors.New("the client was too slow")
	errTooMany = errors.New("too many transfers pause, and this one has for longest")
)

// slowBody is the error for a body that was ended.
func slowBody(cause error) error {
	if errors.Is(cause, errTooMany) {
		return fault.Wrap(cause, fault.TooSlow, fault.RequestTimeout, "the request body paused while too many others did; send it again")
	}
	return fault.Wrap(cause, fault.TooSlow, fault.RequestTimeout, "the request body came too slowly")
}
