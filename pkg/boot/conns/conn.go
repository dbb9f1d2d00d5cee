package conns

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// stallAfter is how long a request waits for its client before its connection may be
// closed to make room.
const stallAfter = time.Second

// Waiter is a request that may wait for its client.
type Waiter interface {
	// Stalled is how long it has waited without enough progress; 0 if it does not
	// wait, or may wait.
	Stalled(now time.Time) time.Duration
	// Stuck is how long ago it should have ended because its client reads nothing; 0 if
	// it should not.
	Stuck(now time.Time) time.Duration
}

// Conn is an accepted connection. It embeds a *net.TCPConn, so that files are still
// sent by sendfile.
type Conn struct {
	*net.TCPConn
	pool     *Pool
	listener string
	origin   origin
	opened   time.Time
	active   atomic.Bool // the first byte of a request has come
	patient  atomic.Bool // its client may take what was sent to it as slowly as a transfer may
	slowed   atomic.Bool // the last request that ended did so because of its client, or is about to

	mu        sync.Mutex
	requests  int // begun so far
	running   int
	transfers int // running ones that may pause
	waiters   []Waiter
	slow      int       // about to end because of their client
	ended     time.Time // of the last request that did not end because of its client
	onClose   func()
}

// Of returns the connection behind c, which may be a TLS connection; nil if it is
// not from a Pool.
func Of(c net.Conn) *Conn {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	conn, _ := c.(*Conn)
	return conn
}

// Begin records that a request begins, with its header complete. It does nothing for
// nil, like the other methods that record.
func (c *Conn) Begin() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	c.running++
	if c.transfers == 0 {
		c.patient.Store(false) // a new request shows that the client has read the transfer before
	}
}

// End records that a request has ended.
func (c *Conn) End() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	if c.slow > 0 {
		c.slow--
		c.slowed.Store(true)
		return
	}
	c.slowed.Store(false)
	c.ended = time.Now()
}

// Slow records that a request is about to end because its client was too slow. That does
// not count as activity of the connection.
func (c *Conn) Slow() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slow++
}

// GiveUp notes that a request is to end because its client is too slow. It cannot while
// the connection, which others share with it, takes nothing. It takes no lock: a Waiter
// may call it while it is asked something.
func (c *Conn) GiveUp() {
	if c != nil {
		c.slowed.Store(true)
	}
}

// AddWaiter registers a request that may wait for its client.
func (c *Conn) AddWaiter(w Waiter) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiters = append(c.waiters, w)
}

// RemoveWaiter is the inverse of AddWaiter.
func (c *Conn) RemoveWaiter(w Waiter) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.waiters, w); i >= 0 {
		c.waiters = slices.Delete(c.waiters, i, i+1)
	}
}

// SetActive records whether the first byte of a request has come.
func (c *Conn) SetActive(is bool) {
	if c != nil {
		c.active.Store(is)
	}
}

// OnClose sets a function to call once the connection is closed.
func (c *Conn) OnClose(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onClose = f
}

// BeginTransfer records that a request may pause. Until the next request begins, its
// client may also read the last bytes slowly, which the system holds.
func (c *Conn) BeginTransfer() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transfers++
	c.patient.Store(true)
}

// EndTransfer is the inverse of BeginTransfer.
func (c *Conn) EndTransfer() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transfers--
}

// Write is that of TCP. A connection whose client does not take it until the
// deadline is reset when it is closed.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.notTaken(err)
	return n, err
}

// ReadFrom is Write by sendfile.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	c.notTaken(err)
	return n, err
}

func (c *Conn) notTaken(err error) {
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.SetLinger(0) // else it closes as usual
	}
}

// Close may be called again. Sent bytes are still delivered, unless the client does
// not read them within restTime, or has read nothing for some time: the system
// would hold them for many minutes.
func (c *Conn) Close() error {
	if !c.patient.Load() {
		if takesNothing(c.TCPConn) {
			_ = c.SetLinger(0) // else it closes as usual
		}
		limitRest(c.TCPConn, restTime)
	}
	err := c.TCPConn.Close()
	c.pool.remove(c)
	c.mu.Lock()
	closed := c.onClose
	c.mu.Unlock()
	if closed != nil {
		closed()
	}
	return err
}

// restTime is how long a client may take nothing of what was sent when its connection
// was closed.
const restTime = 20 * time.Second

// cut closes the connection without a TLS close alert, which a client that does not
// read would not receive.
func (c *Conn) cut() {
	_ = c.SetLinger(0) // else it closes as usual
	_ = c.Close()      // the connection is unusable
}

// phase is the state of a connection. Earlier phases are closed first to make room.
type phase int

const (
	silent  phase = iota // no byte of a request has come; includes TLS handshakes
	idle                 // waits for the next request
	header               // the header of a request is incomplete
	stalled              // all its requests wait for the client
	busy
)

// state is the phase and its begin.
func (c *Conn) state(now time.Time) (phase, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := c.lastSign()
	switch {
	case c.running > 0:
		least := c.stalledFor(now)
		if least < stallAfter {
			return busy, now
		}
		return stalled, now.Add(-least)
	case c.active.Load():
		return header, since
	case c.requests > 0:
		return idle, since
	}
	return silent, since
}

// lastSign is when the connection was opened, or its client last got a response.
func (c *Conn) lastSign() time.Time {
	if c.ended.IsZero() {
		return c.opened
	}
	return c.ended
}

// slowSince is the time since which all requests ended because of a slow client;
// zero if the last one did not.
func (c *Conn) slowSince() time.Time {
	if !c.slowed.Load() {
		return time.Time{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastSign()
}

// stalledFor is how long all requests have waited for the client.
func (c *Conn) stalledFor(now time.Time) time.Duration {
	if len(c.waiters) < c.running {
		return 0
	}
	least := c.waiters[0].Stalled(now)
	for _, w := range c.waiters[1:] {
		least = min(least, w.Stalled(now))
	}
	return least
}

// stuckFor is how long a request should have ended that cannot, since the connection
// takes nothing.
func (c *Conn) stuckFor(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	longest := time.Duration(0)
	for _, w := range c.waiters {
		longest = max(longest, w.Stuck(now))
	}
	return longest
}

// mayTakeItsTime reports whether the last request was a transfer and has ended.
func (c *Conn) mayTakeItsTime() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running == 0 && c.patient.Load()
}

// hadRequest reports whether a request has ever begun.
func (c *Conn) hadRequest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests > 0
}
