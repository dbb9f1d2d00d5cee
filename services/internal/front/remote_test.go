package front_test

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// Nothing is kept back: each piece of an upload arrives before the next one is
// sent, and so does each piece of an answer.
func TestRemoteStreams(t *testing.T) {
	const pieces, piece = 64, 1 << 20
	arrived, taken := make(chan int), make(chan struct{})
	h := newHop(t, front.Services{Upload: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, piece)
		for {
			n, err := io.ReadFull(r.Body, buf)
			if err != nil {
				break
			}
			arrived <- n
		}
		for range pieces {
			_, _ = w.Write(buf)
			_ = http.NewResponseController(w).Flush()
			<-taken
		}
	})})
	body, in := io.Pipe()
	go func() {
		for range pieces {
			_, _ = in.Write(make([]byte, piece))
			<-arrived
		}
		_ = in.Close()
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, h.Server.URL+session, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.ContentLength = h.open.Host, pieces*piece
	res, err := h.Server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for i := range pieces {
		if _, err := io.CopyN(io.Discard, res.Body, piece); err != nil {
			t.Fatalf("piece %d: %v", i, err)
		}
		taken <- struct{}{}
	}
	if n, err := io.Copy(io.Discard, res.Body); n != 0 || err != nil {
		t.Errorf("%d bytes too many, %v", n, err)
	}
	if res.Close {
		t.Error("a connection on which all was read is not kept")
	}
}

// dial opens a connection for a client that is not a well-behaved one.
func dial(t *testing.T, s *httptest.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestR45_ClientLeavesWhileItsBodyIsHandedOn(t *testing.T) {
	const sent = 3<<20 + 17
	began, ended := make(chan struct{}), make(chan int64, 1)
	h := newHop(t, front.Services{Upload: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		n, err := io.Copy(io.Discard, r.Body)
		if err == nil {
			t.Error("a body that broke off ended as if it were whole")
		}
		ended <- n
	})})
	conn := dial(t, h.Server)
	_, err := io.WriteString(conn, "PATCH "+session+" HTTP/1.1\r\nHost: "+h.open.Host+"\r\nContent-Length: 9999999\r\n\r\n"+strings.Repeat("x", sent))
	if err != nil {
		t.Fatal(err)
	}
	<-began
	_ = conn.Close()
	if n := <-ended; n != sent {
		t.Errorf("%d bytes arrived of %d", n, sent)
	}
}

// A client that asks before it sends is told to by the service itself, or
// refused before it sent anything.
func TestRemoteExpectContinue(t *testing.T) {
	go100 := make(chan struct{})
	h := newHop(t, front.Services{Upload: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			front.WriteError(w, r, fault.New(fault.OutOfRange, fault.BlobUploadInvalid, "elsewhere").WithOffset(7))
			return
		}
		<-go100
		n, err := io.Copy(io.Discard, r.Body)
		if n != 5 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		w.WriteHeader(http.StatusAccepted)
	})})
	ask := func(method string) *bufio.Reader {
		conn := dial(t, h.Server)
		if _, err := io.WriteString(conn, method+" "+session+" HTTP/1.1\r\nHost: "+h.open.Host+"\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		if method == http.MethodPatch {
			_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("told to send before the service asked: %v", err)
			}
			_ = conn.SetReadDeadline(time.Time{})
			close(go100)
			if line, err := in.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100 ") || err != nil {
				t.Errorf("%q, %v", line, err)
			}
			for line := "?"; strings.TrimSpace(line) != ""; line, _ = in.ReadString('\n') {
			}
			_, _ = io.WriteString(conn, "hello")
		}
		return in
	}
	res, err := http.ReadResponse(ask(http.MethodPatch), nil)
	if err != nil || res.StatusCode != http.StatusAccepted || res.Header.Get(web.HeaderRequestID) == "" {
		t.Fatalf("%v, %v", res, err)
	}
	res, err = http.ReadResponse(ask(http.MethodPut), nil)
	if err != nil || res.StatusCode != http.StatusRequestedRangeNotSatisfiable || res.Header.Get("Range") != "0-6" {
		t.Fatalf("%v, %v", res, err)
	}
}

// A refusal that does not wait for the body reaches a client that is in the
// middle of sending it, and says that the connection ends: it would else send
// its next request there.
func TestRemoteEarlyAnswer(t *testing.T) {
	h := newHop(t, front.Services{Upload: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			front.WriteError(w, r, fault.New(fault.OutOfRange, fault.BlobUploadInvalid, "elsewhere").WithOffset(7))
			return
		}
		front.WriteError(w, r, fault.New(fault.Denied, fault.DeniedReason, "no"))
	})})
	for range 5 {
		for method, want := range map[string]int{http.MethodPatch: 416, http.MethodPut: 403} {
			conn := dial(t, h.Server)
			head := method + " " + session + " HTTP/1.1\r\nHost: " + h.open.Host + "\r\nContent-Length: 1073741824\r\n\r\n"
			if _, err := io.WriteString(conn, head+strings.Repeat("x", 1<<20)); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("%s: %v", method, err)
			}
			if text := body(t, res); res.StatusCode != want || want == 416 && res.Header.Get("Range") != "0-6" {
				t.Fatalf("%s: %d %v %s", method, res.StatusCode, res.Header, text)
			}
			if !res.Close {
				t.Errorf("%s: the end of the connection comes as a surprise", method)
			}
			_ = conn.Close()
		}
	}
}

// listener answers connections with what serve does.
func listener(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return l.Addr().String()
}

// deaf is an address where connecting takes for ever: the queue of those whom
// no one has accepted is full.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}).String()
	for range 8 {
		conn, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the queue is never full")
	return ""
}

// Whatever is wrong with the other process is an outage: the client may try
// again, and is told nothing about its rights or about what there is.
func TestRemoteIsDown(t *testing.T) {
	t.Parallel()
	const patience = 300 * time.Millisecond
	request := func(conn net.Conn) { _, _ = http.ReadRequest(bufio.NewReader(conn)) }
	saying := func(text string) string {
		return listener(t, func(conn net.Conn) {
			request(conn)
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		})
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	ends := map[string]string{
		"refuses":                closed.Listener.Addr().String(),
		"hangs at connect":       deaf(t),
		"hangs up":               listener(t, func(conn net.Conn) { _ = conn.Close() }),
		"hangs up when asked":    saying(""),
		"dies in the status":     saying("HTTP/1.1 20"),
		"dies in the header":     saying("HTTP/1.1 201 Created\r\nLocation: /v2/"),
		"is something else":      saying("220 mail.example.com ESMTP\r\n"),
		"takes and says nothing": listener(t, func(conn net.Conn) { request(conn); _, _ = io.Copy(io.Discard, conn) }),
		"takes nothing":          listener(t, func(net.Conn) {}),
	}
	for name, addr := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hopTo(t, "http://"+addr, patience)
			for _, r := range []fronttest.Request{
				{Method: http.MethodPost, Path: "/v2/app/blobs/uploads/"},
				{Method: http.MethodGet, Path: session},
				{Method: http.MethodPatch, Path: session, Body: strings.Repeat("x", 10<<20)},
				{Method: http.MethodPut, Path: session + "?digest=" + digest},
				{Method: http.MethodDelete, Path: session},
				{Method: http.MethodGet, Path: "/token?service=open.acme.localhost"},
			} {
				r.Host = h.open.Host
				began := time.Now()
				wantOutage(t, r.Method+" "+r.Path, h.Do(r))
				if took := time.Since(began); took > 4*time.Second {
					t.Errorf("%s %s: answered after %s", r.Method, r.Path, took)
				}
			}
			// What needs no one else continues.
			if got := h.Do(fronttest.Request{Host: h.open.Host, Path: "/v2/app/tags/list"}); got.Body != "registry" {
				t.Errorf("%d %s", got.Status, got.Body)
			}
		})
	}
}

// An answer that has begun and breaks off must not look whole.
// TestRemotePatience: who puts an upload together, waits for an upstream, or for
// all of a blob to send a part of it, is not taken for one that stands still.
func TestRemotePatience(t *testing.T) {
	for _, c := range []struct {
		service, method, ranges string
		least, most             time.Duration
	}{
		{"upload", http.MethodGet, "", 0, 30 * time.Second},
		{"upload", http.MethodPut, "", 6 * time.Minute, time.Hour},
		{"proxy", http.MethodGet, "", 95 * time.Second, 2 * time.Minute},
		{"proxy", http.MethodGet, "bytes=5-", 6 * time.Minute, time.Hour},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, "/v2/app/blobs/x", nil)
		r.Body = nil // as httputil sends none
		if c.ranges != "" {
			r.Header.Set("Range", c.ranges)
		}
		if got := (front.Remote{Service: c.service}).Patience(r); got < c.least || got > c.most {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestRemoteDiesInItsAnswer(t *testing.T) {
	for _, framing := range []string{"Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"} {
		for name, end := range map[string]func(net.Conn){
			"dies":  func(conn net.Conn) { _ = conn.Close() },
			"hangs": func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
		} {
			addr := listener(t, func(conn net.Conn) {
				_, _ = http.ReadRequest(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+framing)
				end(conn)
			})
			h := hopTo(t, "http://"+addr, 300*time.Millisecond)
			if got, err := h.Send(fronttest.Request{Host: h.open.Host, Path: "/token"}); err == nil {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
}

// As long as something moves the other process may take all the time it needs.
func TestRemoteIsSlowButAlive(t *testing.T) {
	const patience, pause, steps = 400 * time.Millisecond, 100 * time.Millisecond, 10
	tick := time.NewTicker(pause)
	defer tick.Stop()
	back := listenInternal(t, deploymentKey, &journal{}, front.Services{Upload: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for range steps {
			<-tick.C
			_, _ = io.WriteString(w, ".")
			_ = http.NewResponseController(w).Flush()
		}
	})})
	h := hopTo(t, back.URL, patience)
	body, in := io.Pipe()
	go func() {
		for range steps {
			<-tick.C
			_, _ = io.WriteString(in, "x")
		}
		_ = in.Close()
	}()
	got := h.Do(fronttest.Request{Method: http.MethodPatch, Host: h.open.Host, Path: session, Stream: body})
	if got.Status != http.StatusOK || got.Body != strings.Repeat(".", steps) {
		t.Errorf("%d %q", got.Status, got.Body)
	}
}

// TestM3_WhatAnotherProcessRefusedIsInTheLine looks at the access lines of both
// processes, and at what the client gets.
func TestM3_WhatAnotherProcessRefusedIsInTheLine(t *testing.T) {
	there := listenInternal(t, deploymentKey, &journal{}, front.Services{Upload: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		front.WriteError(w, r, fault.New(fault.Denied, fault.QuotaExceeded, "the quota is used up"))
	})})
	u, err := url.Parse(there.URL)
	if err != nil {
		t.Fatal(err)
	}
	remote := front.Remote{Service: "other", URL: u, Calls: access.NewInternal(deploymentKey), Log: slog.New(slog.DiscardHandler)}
	d, here := fronttest.New(t), &journal{}
	d.Log = slog.New(slog.NewJSONHandler(here, nil))
	site := d.Tenant("acme", tenant.Settings{AnonymousPull: true, AnonymousPush: true})
	d.Serve(front.Services{Upload: remote.Handler()})
	got := d.Do(fronttest.Request{Host: site.Host, Method: http.MethodPut, Path: session})
	if got.Status != http.StatusForbidden {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	for name := range got.Header {
		if strings.HasPrefix(name, "Berth-") {
			t.Errorf("the client gets %s", name)
		}
	}
	for _, want := range []string{`"code":"DENIED"`, `"reason":"QUOTA_EXCEEDED"`, `"detail":"the quota is used up"`, `"principal":"anonymous"`, `"scope":"repository:app:pull,push"`} {
		await.True(t, 10*time.Second, "the line says "+want, func() bool { return here.contains(want) })
	}
}
