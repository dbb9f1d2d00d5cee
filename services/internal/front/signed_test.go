package front_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// captured is a call as it was on the wire.
type captured struct {
	method, path, host string
	header             http.Header
	body               string
	chunked            bool
}

// send sends it to a listener.
func (c captured) send(t *testing.T, to *httptest.Server) fronttest.Answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), c.method, to.URL+c.path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header, r.Host = c.header, c.host
	if c.chunked {
		r.ContentLength = -1
	}
	resp, err := to.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fronttest.Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(text)}
}

// TestS94_WhatIsSignedCannotBeChanged takes calls off the wire and sends them on with
// something else in them: none reaches a service. As it was signed it does, once.
func TestS94_WhatIsSignedCannotBeChanged(t *testing.T) {
	var reached atomic.Int64
	var got atomic.Value
	service := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			front.WriteError(w, r, err)
			return
		}
		reached.Add(1)
		got.Store(string(body))
	})
	back := listenInternal(t, deploymentKey, &journal{}, front.Services{Upload: service, Token: service})
	var taken captured
	tap := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		taken = captured{r.Method, r.RequestURI, r.Host, r.Header.Clone(), string(body), r.ContentLength < 0}
	}))
	t.Cleanup(tap.Close)
	h := hopTo(t, tap.URL, 0)
	form := "grant_type=password&service=x"
	sent := func(body, path string) captured {
		t.Helper()
		q := fronttest.Request{
			Host: h.open.Host, Method: http.MethodPost, Path: path, Basic: "ci", Stream: strings.NewReader(body),
			Header: fronttest.Headers("Content-Type", "application/x-www-form-urlencoded", "Range", "bytes=0-1"),
		}
		if a := h.Do(q); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		return taken
	}
	for name, change := range map[string]func(*captured){
		"another body":             func(c *captured) { c.body = strings.Replace(c.body, "password", "passw0rd", 1) },
		"a longer body":            func(c *captured) { c.body += "&scope=repository:app:push" },
		"no body":                  func(c *captured) { c.body = "" },
		"another path":             func(c *captured) { c.path = strings.Replace(c.path, "token", "token/jwks", 1) },
		"another query":            func(c *captured) { c.path += "&scope=other" },
		"another method":           func(c *captured) { c.method = http.MethodPut },
		"another host":             func(c *captured) { c.host = h.private.Host },
		"another credential":       func(c *captured) { c.header.Set("Authorization", "Basic Y2k6bm8=") },
		"no credential":            func(c *captured) { c.header.Del("Authorization") },
		"another type":             func(c *captured) { c.header.Set("Content-Type", "application/json") },
		"another range":            func(c *captured) { c.header.Set("Range", "bytes=0-2") },
		"a header that was not":    func(c *captured) { c.header.Set("If-None-Match", "*") },
		"one more of the same":     func(c *captured) { c.header.Add("Authorization", "Basic Y2k6bm8=") },
		"a signature of somewhere": func(c *captured) { c.header.Set(callHeader, sentOf(t).header.Get(callHeader)) },
	} {
		c := sent(form, "/token?account=ci")
		change(&c)
		wantOutage(t, name, c.send(t, back))
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d changed calls reached a service", n)
	}
	c := sent(form, "/token?account=ci")
	if a := c.send(t, back); a.Status != http.StatusOK || got.Load() != form {
		t.Errorf("as it was signed: %d %s, body %q", a.Status, a.Body, got.Load())
	}
	wantOutage(t, "sent again", c.send(t, back))
	c.header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	wantOutage(t, "sent again with a header that is not signed", c.send(t, back))

	// Bytes of a blob are not held back to be hashed: their length is signed, and
	// their digest compared where they are stored.
	c = sent("bytes", "/v2/app/blobs/uploads/?digest="+digest)
	c.body = "other"
	if a := c.send(t, back); a.Status != http.StatusOK || got.Load() != "other" {
		t.Errorf("bytes of a blob: %d %s, body %q", a.Status, a.Body, got.Load())
	}
	wantOutage(t, "bytes of a blob again", c.send(t, back))
}

// TestS94_BodiesOfEveryFormArrive where their length is announced or not, and where
// there is less, as much and more than a signature covers.
func TestS94_BodiesOfEveryFormArrive(t *testing.T) {
	service := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			front.WriteError(w, r, err)
			return
		}
		_, _ = fmt.Fprint(w, n)
	})
	h := newHop(t, front.Services{Upload: service, Token: service})
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		for _, path := range []string{"/token", session, "/v2/app/blobs/uploads/"} {
			for _, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 1 << 20} {
				for _, announced := range []bool{true, false} {
					q := fronttest.Request{Host: h.open.Host, Method: method, Path: path, Body: strings.Repeat("x", size)}
					if !announced {
						q.Stream = strings.NewReader(q.Body)
					}
					if a := h.Do(q); a.Status != http.StatusOK || a.Body != strconv.Itoa(size) {
						t.Errorf("%s %s with %d bytes, announced %v: %d %s", method, path, size, announced, a.Status, a.Body)
					}
				}
			}
		}
	}
}

// sentOf is a call with a key of another deployment.
func sentOf(t *testing.T) captured {
	t.Helper()
	signed, err := access.NewInternal("another key of the same length 1").Sign(access.InternalCall{})
	if err != nil {
		t.Fatal(err)
	}
	return captured{header: http.Header{callHeader: {signed}}}
}

// TestS96_ARequestThatIsSentAgainIsSignedAgain has kept connections end while requests
// are running, after the other process took the call: net/http sends them again, and
// clients notice nothing.
func TestS96_ARequestThatIsSentAgainIsSignedAgain(t *testing.T) {
	var reached atomic.Int64
	service := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		_, _ = io.WriteString(w, "done")
	})
	back := listenInternal(t, deploymentKey, &journal{}, front.Services{Upload: service, Token: service})
	breaking := &breaking{to: back.Listener.Addr().String(), calls: map[string]bool{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go breaking.serve(t.Context(), l)
	h := hopTo(t, "http://"+l.Addr().String(), 0)
	const requests = 20
	for k := range requests {
		method, path := http.MethodGet, session
		if k%2 == 1 {
			method, path = http.MethodHead, "/token"
		}
		if a := h.Do(fronttest.Request{Host: h.open.Host, Method: method, Path: path}); a.Status != http.StatusOK {
			t.Fatalf("request %d: %d %s", k, a.Status, a.Body)
		}
	}
	breaking.mu.Lock()
	defer breaking.mu.Unlock()
	if breaking.broken == 0 || len(breaking.calls) != requests+breaking.broken || reached.Load() != int64(requests+breaking.broken) {
		t.Errorf("%d requests, %d broken connections, %d signatures, %d of which were taken", requests, breaking.broken, len(breaking.calls), reached.Load())
	}
}

// breaking passes one request and its answer on of each connection, and of the next
// one only the request.
type breaking struct {
	to string

	mu     sync.Mutex
	calls  map[string]bool // signatures
	broken int
}

func (b *breaking) serve(ctx context.Context, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go b.pass(ctx, c)
	}
}

func (b *breaking) pass(ctx context.Context, c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })() // a kept connection ends with the test
	in := bufio.NewReader(c)
	for first := true; ; first = false {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		b.mu.Lock()
		b.calls[r.Header.Get(callHeader)] = true
		b.mu.Unlock()
		r.URL.Scheme, r.URL.Host, r.RequestURI = "http", b.to, ""
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return
		}
		var text bytes.Buffer
		_ = answer.Write(&text) // to memory
		_ = answer.Body.Close()
		if !first {
			b.mu.Lock()
			b.broken++
			b.mu.Unlock()
			return
		}
		_, _ = c.Write(text.Bytes())
	}
}

// TestS94_RefusedCallsAreCounted by what is wrong with them.
func TestS94_RefusedCallsAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	log := slog.New(slog.DiscardHandler)
	service := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			front.WriteError(w, r, err)
		}
	})
	back := httptest.NewServer(web.Middleware{
		Listener: "internal", Log: log, Tracer: noop.NewTracerProvider().Tracer(""), Metrics: web.NewMetrics(reg), Scheme: "http",
	}.Wrap(front.NewInternal(access.NewInternal(deploymentKey), noPolicies, log, front.Services{Token: service}, nil, nil, nil)))
	t.Cleanup(back.Close)
	var taken captured
	tap := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		taken = captured{r.Method, r.RequestURI, r.Host, r.Header.Clone(), string(body), r.ContentLength < 0}
	}))
	t.Cleanup(tap.Close)
	h := hopTo(t, tap.URL, 0)
	h.Do(fronttest.Request{Host: h.open.Host, Method: http.MethodPost, Path: "/token", Body: "a=b"})
	for _, change := range []func(c *captured){
		func(c *captured) { c.path = "/token?x" },
		func(c *captured) { c.body = "a=c" }, // takes it
		func(*captured) {},
		func(c *captured) { c.header.Del(callHeader) },
		func(c *captured) { c.header = sentOf(t).header },
		func(c *captured) { c.header.Set(callHeader, "x") },
	} {
		c := taken
		c.header = taken.header.Clone()
		change(&c)
		if a := c.send(t, back); a.Status < http.StatusBadRequest {
			t.Errorf("%+v: %d", c, a.Status)
		}
	}
	back.Close() // until all are counted
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "berth_internal_calls_refused_total" {
			for _, m := range f.GetMetric() {
				got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	want := map[string]float64{"changed": 2, "replayed": 1, "unsigned": 1, "key": 1, "invalid": 1}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestS94_ServicesOfOneDeploymentOnly is what a call of another key is answered, with
// the reason for the operator alone.
func TestS94_ServicesOfOneDeploymentOnly(t *testing.T) {
	logged := &journal{}
	back := listenInternal(t, "fedcba9876543210fedcba9876543210", logged, none(t))
	u, err := url.Parse(back.URL)
	if err != nil {
		t.Fatal(err)
	}
	remote := front.Remote{Service: "other", URL: u, Calls: access.NewInternal(deploymentKey), Log: slog.New(slog.DiscardHandler)}
	h := serveHere(t, front.Services{Upload: remote.Handler()})
	wantOutage(t, "another key", h.Do(fronttest.Request{Host: h.open.Host, Path: session}))
	if !logged.contains("internal_key") || logged.contains("eyJ") {
		t.Error("the log does not tell, or tells the signature")
	}
}
