package web

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
)

// piped is a listener whose connections are in memory, for tests whose time stands still
// while anything runs.
type piped struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *piped) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *piped) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *piped) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// servePiped is serve for one connection in memory.
func servePiped(t *testing.T, h http.HandlerFunc) net.Conn {
	t.Helper()
	m, _ := newMiddleware(io.Discard)
	m.Pace = quick
	s := NewServer(m.Wrap(h), slog.New(slog.DiscardHandler))
	s.ReadHeaderTimeout = quick.Grace
	l := &piped{conns: make(chan net.Conn), closed: make(chan struct{})}
	go func() { _ = s.Serve(l) }()
	client, server := net.Pipe()
	l.conns <- server
	t.Cleanup(func() { _, _ = s.Close(), client.Close() })
	return client
}

// TestA7_SteadyClientsAreServed: a client that keeps the pace may take many times the grace,
// whichever way the bytes go, and so may a handler that thinks. One that does not quite keep
// it is cut.
func TestA7_SteadyClientsAreServed(t *testing.T) {
	const size = 40_000 // forty times the grace, and within the bound of 45 s
	h := func(t *testing.T, failed *error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var n int64
			if n, *failed = io.Copy(io.Discard, r.Body); *failed != nil {
				answer(w, *failed)
				return
			}
			if r.Method == http.MethodPatch { // thinks for longer than the grace, and the client is still there
				select {
				case <-time.After(20 * quick.Grace):
				case <-r.Context().Done():
					t.Error("the request was cancelled")
				}
			}
			fmt.Fprint(w, n)
		}
	}
	// send writes the body, in pieces that need this much time each; it returns how many
	// were taken.
	send := func(c net.Conn, each time.Duration) int {
		fmt.Fprintf(c, "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size)
		tick := time.NewTicker(each)
		defer tick.Stop()
		for taken := range size / 100 {
			<-tick.C
			if _, err := c.Write(bytes.Repeat([]byte("a"), 100)); err != nil {
				return taken * 100
			}
		}
		return size
	}
	pace := quick.Grace * 100 / 1024 // in which 100 bytes must come
	t.Run("steady", func(t *testing.T) {
		faketime.Test(t, func(t *testing.T) {
			var failed error
			c := servePiped(t, h(t, &failed))
			if n := send(c, pace*99/100); n != size {
				t.Fatalf("the server took %d of %d bytes: %v", n, size, failed)
			}
			expectAnswer(t, c, strconv.Itoa(size))
			// The connection lives on; deadlines of the first request do not touch
			// the second, which starts with an answer by net/http itself.
			fmt.Fprint(c, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
			buf := make([]byte, 25)
			if _, err := io.ReadFull(c, buf); err != nil || !strings.HasPrefix(string(buf), "HTTP/1.1 100 Continue") {
				t.Fatalf("%q %v", buf, err)
			}
			fmt.Fprint(c, "ab")
			expectAnswer(t, c, "2")
		})
	})
	t.Run("too slow", func(t *testing.T) {
		faketime.Test(t, func(t *testing.T) {
			var failed error
			c := servePiped(t, h(t, &failed))
			go func() { _, _ = io.Copy(io.Discard, c) }() // the answer
			if n := send(c, pace*105/100); n == size || n < size/40 {
				t.Errorf("the server took %d of %d bytes", n, size)
			}
			synctest.Wait()
			if fault.KindOf(failed) != fault.TooSlow {
				t.Errorf("the handler read %v", failed)
			}
		})
	})
}
