package conns

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
)

const patience = 20 * time.Second

// world is a listener of a pool, whose connections are kept in the order in which they
// came.
type world struct {
	*testing.T
	set  *Set
	pool *Pool
	addr string

	mu       sync.Mutex
	accepted map[string]*Conn // by the client's address
}

func newWorld(t *testing.T, l Limits) *world {
	t.Helper()
	w := &world{T: t, set: NewSet(slog.New(slog.DiscardHandler), 1024), accepted: map[string]*Conn{}}
	w.pool = w.set.Pool(l)
	w.pool.seen = func(a net.Addr) netip.Addr { return seenAs(addressOf(a)) }
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limited := w.pool.Listen(raw, "data")
	w.addr = raw.Addr().String()
	go func() {
		for {
			c, err := limited.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.accepted[c.RemoteAddr().String()] = c.(*Conn)
			w.mu.Unlock()
		}
	}()
	t.Cleanup(func() { raw.Close() })
	return w
}

// seenAs makes addresses of 127.100.0.0/16 public ones, whose networks count.
func seenAs(a netip.Addr) netip.Addr {
	if b := a.As4(); b[1] == 100 {
		return netip.AddrFrom4([4]byte{198, 51, b[2], b[3]})
	}
	return a
}

// client is one end of a connection, and the server's of it.
type client struct {
	net.Conn
	server *Conn
}

// dial connects from an address of loopback, and waits until the pool has decided.
func (w *world) dial(from string) client {
	w.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", w.addr)
	if errors.Is(err, syscall.ECONNRESET) {
		return client{} // refused already
	}
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { c.Close() })
	var found *Conn
	await.True(w, patience, "the connection is taken or refused", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		found = w.accepted[c.LocalAddr().String()]
		return found != nil || isCut(c)
	})
	return client{c, found}
}

// isCut says whether the server has ended the connection.
func isCut(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func (w *world) isOpen() int {
	open, _ := w.pool.figures()
	return open
}

// wait is a request that has waited for its client for a time.
type wait time.Duration

func (d wait) Stalled(time.Time) time.Duration { return time.Duration(d) }
func (wait) Stuck(time.Time) time.Duration     { return 0 }

// At the limit the connections that are missed least are closed for new ones: silent
// before idle before begun headers before stalled requests, and never one that works.
func TestS1_RoomIsMadeInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{Max: 5, Peers: "data"})
	works, stalls, begun, rests, says := w.dial("127.0.0.2"), w.dial("127.0.0.2"), w.dial("127.0.0.2"), w.dial("127.0.0.2"), w.dial("127.0.0.2")
	says.server.mu.Lock()
	says.server.opened = time.Now().Add(-time.Minute) // a new one is spared
	says.server.mu.Unlock()
	works.server.Begin()
	stalls.server.Begin()
	stalls.server.AddWaiter(wait(time.Minute))
	begun.server.SetActive(true)
	rests.server.Begin()
	rests.server.End()
	for i, victim := range []client{says, rests, begun, stalls} {
		c := w.dial("127.0.0.2")
		if c.server == nil {
			t.Fatalf("%d: refused", i)
		}
		c.server.Begin() // works from now on
		await.True(w, patience, "the connection is cut", func() bool { return isCut(victim) })
		if w.isOpen() != 5 {
			t.Errorf("%d: %d are open", i, w.isOpen())
		}
	}
	if c := w.dial("127.0.0.2"); c.server != nil {
		t.Error("one more is taken, of which none may be closed")
	}
	if isCut(works) {
		t.Error("a connection that works is cut")
	}
	if _, refused := w.pool.figures(); refused[countKey{"data", refusedFull}] != 1 {
		t.Errorf("refused: %v", refused)
	}
	if _, err := w.set.Check(t.Context()); err == nil {
		t.Error("the process is ready while it refuses connections")
	}
	w.pool.mu.Lock()
	w.pool.full = time.Now().Add(-recently)
	w.pool.mu.Unlock()
	if said, err := w.set.Check(t.Context()); err != nil {
		t.Errorf("it stays unready: %s, %v", said, err)
	}
}

// Of several addresses that with the most loses, however new its connections are.
func TestS1_TheAddressWithMostLoses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{Max: 20, Peers: "data"})
	var few, many []client
	for range 3 {
		few = append(few, w.dial("127.0.0.3"))
	}
	for range 17 {
		many = append(many, w.dial("127.0.0.4"))
	}
	for range 5 {
		if c := w.dial("127.0.0.5"); c.server == nil {
			t.Fatal("refused")
		}
	}
	lost := 0
	await.True(w, patience, "as many are closed", func() bool {
		lost = 0
		for _, c := range many {
			if isCut(c) {
				lost++
			}
		}
		return lost == 5
	})
	for _, c := range few {
		if isCut(c) {
			t.Error("a connection of another address is closed")
		}
	}
}

// Below three quarters an address may have all; from then on it has a share, which is
// no matter to a trusted proxy.
func TestS2_ShareOfAnAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{Max: 80, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}})
	works := func(from string) bool {
		c := w.dial(from)
		if c.server == nil {
			return false
		}
		c.server.Begin()
		return true
	}
	for i := range 60 {
		if !works("127.0.0.2") {
			t.Fatalf("refused at %d", i)
		}
	}
	if works("127.0.0.2") {
		t.Error("it may have more than three quarters")
	}
	for i := range 10 {
		if !works("127.0.0.3") {
			t.Fatalf("another is refused at %d", i)
		}
	}
	if works("127.0.0.3") {
		t.Error("another has more than its share")
	}
	for i := range 10 {
		if !works("127.0.0.9") {
			t.Fatalf("the proxy is refused at %d", i)
		}
	}
	_, refused := w.pool.figures()
	if refused[countKey{"data", refusedAddress}] != 2 || refused[countKey{"data", refusedFull}] != 0 {
		t.Errorf("refused: %v", refused)
	}
	if _, err := w.set.Check(t.Context()); err != nil {
		t.Errorf("one address makes the process unready: %v", err)
	}
}

// An address that is over its share pays for new connections with its own old ones.
func TestS2_AddressPaysWithItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{Max: 40})
	first := w.dial("127.0.0.2")
	for range 29 {
		w.dial("127.0.0.2")
	}
	other := w.dial("127.0.0.3")
	if c := w.dial("127.0.0.2"); c.server == nil {
		t.Error("refused")
	}
	await.True(w, patience, "the connection is cut", func() bool { return isCut(first) })
	if isCut(other) {
		t.Error("that of another is closed")
	}
}

// exhausted has no descriptor for the first connections.
type exhausted struct {
	net.Listener
	errs []error
}

func (e *exhausted) Accept() (net.Conn, error) {
	if len(e.errs) == 0 {
		return nil, net.ErrClosed
	}
	err := e.errs[0]
	e.errs = e.errs[1:]
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
}

// When no descriptor is left a connection of any pool is closed for the next, or a
// transfer that pauses is ended; readiness says so, and recovers.
func TestS3_NoDescriptorLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{Max: 10})
	idle := w.dial("127.0.0.2")
	asked := 0
	w.set.OnShort(func() bool { asked++; return true })
	ops := w.set.Pool(Limits{Max: 10})
	l := ops.Listen(&exhausted{errs: []error{syscall.EMFILE, syscall.ENFILE}}, "ops")
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	await.True(w, patience, "the connection is cut", func() bool { return isCut(idle) })
	if asked != 1 {
		t.Errorf("transfers were ended %d times", asked)
	}
	if _, err := w.set.Check(t.Context()); err == nil {
		t.Error("the process is ready without a descriptor")
	}
	w.set.shortAt.Store(time.Now().Add(-recently).UnixNano())
	w.set.countOpen = func() (int, error) { return 1020, nil }
	if said, err := w.set.Check(t.Context()); err == nil || said != "1020 of 1024 file descriptors in use, 0 of 10 connections" {
		t.Errorf("%q, %v", said, err)
	}
	w.set.countOpen = openDescriptors
	if said, err := w.set.Check(t.Context()); err != nil {
		t.Errorf("%q, %v", said, err)
	}
}

// A connection without a request ends, whatever the server behind thinks of it.
func TestS4_ConnectionsWithoutARequestEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{Max: 10, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}})
	silent, rests, proxy, works := w.dial("127.0.0.2"), w.dial("127.0.0.2"), w.dial("127.0.0.9"), w.dial("127.0.0.2")
	for _, c := range []client{rests, proxy} {
		c.server.Begin()
		c.server.End()
	}
	works.server.Begin()
	for _, step := range []struct {
		after time.Duration
		open  int
	}{{nextRequest - time.Second, 4}, {nextRequest + time.Second, 2}, {proxyRequest - time.Second, 2}, {time.Hour, 1}} {
		w.pool.reap(time.Now().Add(step.after))
		if w.isOpen() != step.open {
			t.Errorf("after %s %d are open, want %d", step.after, w.isOpen(), step.open)
		}
	}
	if isCut(works) || !isCut(silent) || !isCut(rests) {
		t.Error("the wrong ones are open")
	}
}

// What leaves through a Conn is what goes in.
func TestConnIsATCPConn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{Max: 10})
	c := w.dial("127.0.0.2")
	if _, ok := any(c.server).(io.ReaderFrom); !ok {
		t.Error("no sendfile")
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c.server, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if c.server.Close() != nil || w.isOpen() != 0 {
		t.Error("it is not taken out")
	}
}
