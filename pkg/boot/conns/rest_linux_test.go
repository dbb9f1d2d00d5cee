package conns

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-registry/berth/pkg/await"
)

// isReset says whether the client's end is over, without reading what is there.
func isReset(c client) bool {
	state := uint8(0)
	onDescriptor(c.Conn.(*net.TCPConn), func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			state = info.State
		}
	})
	const closed = 7 // TCP_CLOSE
	return state == closed
}

// fill writes until the client, which reads nothing, has no room.
func fill(t *testing.T, c net.Conn) int64 {
	t.Helper()
	if err := c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var n int64
	for {
		written, err := c.Write(make([]byte, 64<<10))
		n += int64(written)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A connection that is closed since its client does not read is over for both at once:
// its end does not wait behind what the client does not take.
func TestS15_WhoDoesNotReadIsReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{Max: 10})
	deadline, idle, patient := w.dial("127.0.0.2"), w.dial("127.0.0.2"), w.dial("127.0.0.2")
	fill(t, deadline.server)
	if err := deadline.server.Close(); err != nil {
		t.Error(err)
	}
	await.True(w, patience, "the connection is reset", func() bool { return isReset(deadline) })

	// What these do not take is in the system's hands, and no write fails.
	for _, c := range []client{idle, patient} {
		c.server.Begin()
		c.server.End()
	}
	fill(t, idle.server.TCPConn)
	sent := fill(t, patient.server.TCPConn)
	patient.server.BeginTransfer()
	patient.server.EndTransfer()
	w.pool.reap(time.Now().Add(nextRequest))
	await.True(w, patience, "the connection is reset", func() bool { return isReset(idle) })
	_ = patient.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.Copy(io.Discard, patient); n != sent || err != nil {
		t.Errorf("of a transfer whose client takes its time %d of %d bytes came: %v", n, sent, err)
	}
}

// What was sent before an orderly end is delivered to a client that is late.
func TestS15_AnOrderlyEndLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{Max: 10})
	c := w.dial("127.0.0.2")
	if _, err := c.server.Write(make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	if err := c.server.Close(); err != nil {
		t.Error(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.Copy(io.Discard, c); n != 100<<10 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A request that ends since its client is slow does not make its connection younger.
func TestS15_SlownessIsNoSignOfLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{Max: 10})
	c := w.dial("127.0.0.2")
	c.server.Begin()
	c.server.mu.Lock()
	c.server.opened = time.Now().Add(-nextRequest)
	c.server.mu.Unlock()
	c.server.Slow()
	c.server.End()
	w.pool.reap(time.Now())
	await.True(w, patience, "the connection is cut", func() bool { return isCut(c) })

	// Nor do requests that wait for their client in turns.
	c = w.dial("127.0.0.2")
	for range 3 {
		c.server.Begin()
		c.server.AddWaiter(wait(time.Minute))
	}
	c.server.GiveUp() // and it does not end
	w.pool.reap(time.Now().Add(nextRequest - time.Second))
	if isCut(c) {
		t.Fatal("it is cut too early")
	}
	w.pool.reap(time.Now().Add(nextRequest))
	await.True(w, patience, "the connection is cut", func() bool { return isCut(c) })
}
