package testserver

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Door is the loopback address of an HTTP server of this process. It notes the
// requests that come, and may be shut. It is safe for concurrent use, except
// that Start and Stop are for the test's own goroutine, and goes with the test.
type Door struct {
	t       testing.TB
	addr    string
	handler http.Handler
	// accept is asked for each connection; it keeps those for which it says no.
	accept func(net.Conn) bool

	mu       sync.Mutex
	shut     func()         // nil while the door is shut
	running  sync.WaitGroup // requests
	requests []Request
	accepted int
	latency  time.Duration
}

// Request is one that came.
type Request struct {
	Method, Path, Query string // Path as it was sent
	Host                string
	Header              http.Header
}

// openDoor opens a door to the handler. What accept does not let in is its to
// close; nil lets all in.
func openDoor(t testing.TB, handler http.Handler, accept func(net.Conn) bool) *Door {
	t.Helper()
	if accept == nil {
		accept = func(net.Conn) bool { return true }
	}
	d := &Door{t: t, addr: FreeAddr(t), handler: handler, accept: accept}
	t.Cleanup(d.Stop)
	d.Start()
	return d
}

// Addr is where it listens, host:port, also after it was shut.
func (d *Door) Addr() string { return d.addr }

// URL is http:// and Addr.
func (d *Door) URL() string { return "http://" + d.addr }

// Start opens the door where it is shut.
func (d *Door) Start() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut != nil {
		return
	}
	l, err := net.Listen("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{
		Handler:           http.HandlerFunc(d.serve),
		ReadHeaderTimeout: patience,
		ErrorLog:          log.New(io.Discard, "", 0),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(&doorListener{l, d}) // it ends by being shut
	}()
	d.shut = func() {
		cancel()
		_ = l.Close() // there is no remedy
		<-served
		_ = server.Close() // all connections that there will ever be
	}
}

// Stop shuts the door where it is open: connections are cut, and refused from
// then on.
func (d *Door) Stop() {
	d.mu.Lock()
	shut := d.shut
	d.shut = nil
	d.mu.Unlock()
	if shut != nil {
		shut()
		d.running.Wait()
	}
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request) {
	latency, open := d.note(r)
	if !open {
		panic(http.ErrAbortHandler)
	}
	defer d.running.Done()
	if latency > 0 {
		select {
		case <-time.After(latency):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	d.handler.ServeHTTP(w, r)
}

func (d *Door) note(r *http.Request) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut == nil {
		return 0, false
	}
	d.running.Add(1)
	d.requests = append(d.requests, Request{
		Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Host: r.Host, Header: r.Header.Clone(),
	})
	return d.latency, true
}

// SetLatency lets each request that comes from now on wait before it is
// answered.
func (d *Door) SetLatency(l time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.latency = l
}

// Requests are those that came, in order, whatever became of them.
func (d *Door) Requests() []Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.requests)
}

// Count is how many requests came with the method for the path. A path that
// ends in * stands for all that begin so; the method "" for all.
func (d *Door) Count(method, path string) int {
	prefix, all := strings.CutSuffix(path, "*")
	n := 0
	for _, r := range d.Requests() {
		if (method == "" || r.Method == method) && (r.Path == path || all && strings.HasPrefix(r.Path, prefix)) {
			n++
		}
	}
	return n
}

// Forget begins to count again.
func (d *Door) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests, d.accepted = nil, 0
}

// Connections is how many were made, also those on which no request came.
func (d *Door) Connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.accepted
}

// doorListener asks before it lets a connection in.
type doorListener struct {
	net.Listener
	door *Door
}

// Accept returns the next connection that was let in.
func (l *doorListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.door.mu.Lock()
		l.door.accepted++
		l.door.mu.Unlock()
		if l.door.accept(conn) {
			return conn, nil
		}
	}
}
