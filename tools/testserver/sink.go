package testserver

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
)

// Sink is an address that should get no connection: it counts who does, and
// keeps what they send. It is safe for concurrent use, and goes with the test.
type Sink struct {
	t         testing.TB
	listeners []net.Listener
	running   sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond
	own      map[string]bool // connections of Accepted, by the address they come from; true once they were accepted
	accepted int
	received bytes.Buffer
}

// StartSink listens on each of the loopback addresses, on a free port;
// on 127.0.0.1 where none is given.
func StartSink(t testing.TB, hosts ...string) *Sink {
	t.Helper()
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1"}
	}
	s := &Sink{t: t, own: map[string]bool{}}
	s.changed = sync.NewCond(&s.mu)
	t.Cleanup(func() {
		for _, l := range s.listeners {
			_ = l.Close() // it has nothing to lose
		}
		s.running.Wait()
	})
	for _, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		s.listeners = append(s.listeners, l)
		s.running.Go(func() { s.accept(l) })
	}
	return s
}

// Addrs are where it listens, host:port, in the order of the hosts.
func (s *Sink) Addrs() []string {
	var addrs []string
	for _, l := range s.listeners {
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// URL is http:// and the first address.
func (s *Sink) URL() string { return "http://" + s.listeners[0].Addr().String() }

// Accepted is how many connections were made before it was called, whether or
// not anything was sent: it connects itself, and those who came earlier are
// accepted earlier.
func (s *Sink) Accepted() int {
	s.t.Helper()
	for _, l := range s.listeners {
		s.pass(l.Addr().String())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// pass connects and waits until that was accepted.
func (s *Sink) pass(addr string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock() // so that it is known before it is accepted
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	mine := conn.LocalAddr().String()
	s.own[mine] = false
	for !s.own[mine] {
		s.changed.Wait()
	}
	delete(s.own, mine)
}

// Bytes is how many bytes were sent to it.
func (s *Sink) Bytes() int { return len(s.Received()) }

// Received is what was sent to it, one after another. A client that waits for an
// answer has been heard before it gets one.
func (s *Sink) Received() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received.String()
}

func (s *Sink) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if s.isOwn(conn) {
			_ = conn.Close() // it has served
			continue
		}
		s.running.Go(func() { s.swallow(conn) })
	}
}

func (s *Sink) isOwn(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := conn.RemoteAddr().String()
	if _, own := s.own[from]; own {
		s.own[from] = true
		s.changed.Broadcast()
		return true
	}
	s.accepted++
	return false
}

// swallow answers an HTTP request, so that who sent it continues.
func (s *Sink) swallow(conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(s.t.Context(), func() { _ = conn.Close() })() // ends the Read
	b := make([]byte, 4<<10)
	for {
		n, err := conn.Read(b)
		s.mu.Lock()
		s.received.Write(b[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
		if strings.Contains(string(b[:n]), "\r\n\r\n") {
			_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")) // the client may be gone
			return
		}
	}
}
