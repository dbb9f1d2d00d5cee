package assemble_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// ledger counts at the clients what they sent and received.
type ledger struct {
	next                          http.RoundTripper
	pulls, pushes, sent, received atomic.Int64
}

// RoundTrip counts a request.
func (l *ledger) RoundTrip(r *http.Request) (*http.Response, error) {
	content := strings.Contains(r.URL.Path, "/manifests/") || strings.Contains(r.URL.Path, "/blobs/")
	if content && r.Body != nil {
		r = r.Clone(r.Context())
		r.Body = counted{r.Body, &l.sent}
	}
	a, err := l.next.RoundTrip(r)
	if err != nil || !content {
		return a, err
	}
	isManifest := strings.Contains(r.URL.Path, "/manifests/")
	switch {
	case r.Method == http.MethodGet && (a.StatusCode == http.StatusOK || a.StatusCode == http.StatusPartialContent):
		if isManifest {
			l.pulls.Add(1)
		}
		a.Body = counted{a.Body, &l.received}
	case r.Method == http.MethodPut && isManifest && a.StatusCode == http.StatusCreated:
		l.pushes.Add(1)
	}
	return a, nil
}

type counted struct {
	io.ReadCloser
	to *atomic.Int64
}

// Read counts what it returns.
func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.to.Add(int64(n))
	return n, err
}

// used is the sum of what a tenant used, by the names of the API.
func (w *world) used(t *testing.T) map[string]int64 {
	t.Helper()
	var page struct{ Periods []map[string]string }
	w.admin(t, http.MethodGet, "/v1/tenants/acme/usagePeriods?granularity=MONTH", nil).want(t, http.StatusOK).decode(t, &page)
	sum := map[string]int64{}
	for _, p := range page.Periods { // a month may end meanwhile
		for name, text := range p {
			if n, err := strconv.ParseInt(text, 10, 64); err == nil && name != "tenant_uid" {
				sum[name] += n
			}
		}
	}
	return sum
}

// near says whether a number is within 0.1 % of what clients counted.
func near(got, want int64) bool { return max(got-want, want-got)*1000 <= want }

// TestW256_UsageIsWhatClientsCounted pushes, mounts and pulls, hosted content and an
// upstream's, and compares what is recorded with what the clients counted.
func TestW256_UsageIsWhatClientsCounted(t *testing.T) {
	t.Parallel()
	for shape, start := range map[string]func(*testing.T, string) *world{
		"embedded": func(t *testing.T, seed string) *world { t.Helper(); return startEmbedded(t, seed, chained) },
		"whole":    func(t *testing.T, seed string) *world { t.Helper(); return startWhole(t, seed, "", chained) },
		"split":    func(t *testing.T, seed string) *world { t.Helper(); return startSplit(t, seed, "", chained) },
	} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			up := testserver.StartRegistry(t, testserver.RegistryOptions{Token: true})
			const remote = "library/app"
			upstreams := ocitest.NewImage(81, 1000, 700_000)
			up.Push(t, remote, upstreams, "1")
			w := start(t, chainSeed(up.URL(), up.Tokens.Addr()))
			l := &ledger{next: w.client.Transport}
			w.client.Transport = l

			size := 2_000_000
			if shape == "embedded" { // more than the system takes for a client that reads nothing
				size = 16_000_000
			}
			img := ocitest.NewImage(80, 1000, size)
			layer := img.Layers[1]
			app, other := w.repository(devHost, "suite", "team/app"), w.repository(devHost, "suite", "team/other")
			app.pushImage(t, img, "1")
			other.mount(t, digest.Digest(layer.Digest), "team/app").want(t, http.StatusCreated)
			third := w.repository(devHost, "suite", "team/third")
			third.blobOf(t, layer.MediaType, layer.Bytes) // sent again, and stored once
			shared := 2 * int64(len(layer.Bytes))

			reader := w.repository(devHost, "reader", "team/app")
			for range 3 {
				reader.wantImage(t, "1", img)
			}
			reader.get(t, reader.at("blobs/%s", layer.Digest), "Range", "bytes=100-4195").want(t, http.StatusPartialContent)
			reader.head(t, reader.at("manifests/1")).want(t, http.StatusOK)
			reader.head(t, reader.at("blobs/%s", layer.Digest)).want(t, http.StatusOK)
			reader.get(t, reader.at("manifests/none")).want(t, http.StatusNotFound)
			reader.get(t, reader.at("tags/list")).want(t, http.StatusOK)
			reader.get(t, reader.at("manifests/1"), "If-None-Match", `"`+img.Index.Digest.String()+`"`).want(t, http.StatusNotModified)
			stranger := w.repository(prodHost, "unknown", "team/app")
			if a, err := stranger.try(request{method: http.MethodGet, target: stranger.at("manifests/1")}); err != nil || a.status != http.StatusUnauthorized {
				t.Errorf("a stranger: %+v, %v", a, err)
			}

			through := w.repository(devHost, "reader", remote)
			through.wantImage(t, "1", upstreams)
			w.stored(t, remote, upstreams)
			before := l.received.Load()
			through.wantImage(t, "1", upstreams)
			cached := l.received.Load() - before
			if shape == "embedded" { // in others an edge takes more than the client does
				w.cutPulls(t, l, "team/app", layer)
				w.cutPush(t, l, "team/cut")
			}

			want := map[string]int64{
				"pulls": l.pulls.Load(), "pushes": l.pushes.Load(), "egress_bytes": l.received.Load(), "received_bytes": l.sent.Load(),
				"cache_saved_bytes": cached, "sharing_saved_bytes": shared,
			}
			var got map[string]int64
			t.Cleanup(func() { t.Logf("recorded %v, clients counted %v", got, want) })
			await.True(t, 30*time.Second, "what was counted is recorded", func() bool {
				got = w.used(t)
				for name, n := range want {
					if !near(got[name], n) {
						return false
					}
				}
				return got["sampled_hours"] > 0
			})
			for name, n := range want {
				exact := name != "egress_bytes" || shape != "embedded"
				if !near(got[name], n) || exact && got[name] != n {
					t.Errorf("%s is %d, and clients counted %d", name, got[name], n)
				}
			}
			w.stop(t)
			w.wantSound(t)
		})
	}
}

// cutPulls begins to pull a blob, reads a part of it, and leaves.
func (w *world) cutPulls(t *testing.T, l *ledger, name string, blob ocitest.Content) {
	t.Helper()
	for range 3 {
		conn := w.dialSmall(t)
		_, port, _ := net.SplitHostPort(w.data)
		req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s/v2/%s/blobs/%s", net.JoinHostPort(devHost, port), name, blob.Digest), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("reader", accountSecret)
		if err := req.Write(conn); err != nil {
			t.Fatal(err)
		}
		buffered := bufio.NewReaderSize(conn, 512)
		a, err := http.ReadResponse(buffered, req)
		if err != nil || a.StatusCode != http.StatusOK {
			t.Fatalf("%+v, %v", a, err)
		}
		n, err := io.CopyN(io.Discard, a.Body, int64(len(blob.Bytes))/2)
		if err != nil {
			t.Fatal(err)
		}
		l.received.Add(n)
		_ = conn.Close()
	}
}

// dialSmall connects with little room for what is not read.
func (w *world) dialSmall(t *testing.T) net.Conn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) })
		if err != nil {
			return err
		}
		return failed
	}}
	conn, err := d.Dial("tcp", w.data)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// cutPush sends half of a blob, and leaves.
func (w *world) cutPush(t *testing.T, l *ledger, name string) {
	t.Helper()
	const size = 300_000
	r := w.repository(devHost, "suite", name)
	session := r.send(t, request{method: http.MethodPost, target: r.at("blobs/uploads/")}).want(t, http.StatusAccepted)
	conn := w.dialSmall(t)
	_, port, _ := net.SplitHostPort(w.data)
	if _, err := fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s",
		session.header.Get("Location"), net.JoinHostPort(devHost, port), basic("suite"), 2*size, strings.Repeat("x", size)); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	l.sent.Add(size)
}

// basic is the credential of an account.
func basic(account string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(account, accountSecret)
	return r.Header.Get("Authorization")
}

// TestW255_AKillLosesOneBatch kills a process that serves pulls: what was recorded stays, and
// what another process records is added.
func TestW255_AKillLosesOneBatch(t *testing.T) {
	t.Parallel()
	c := servers(t, "")
	w := startOneWith(t, c, pullsSeed)
	img := ocitest.NewImage(82, 1000, 50_000)
	w.repository(prodHost, "suite", "team/app").pushImage(t, img, "1")
	doomed := startMortal(t, c)
	pull := func(through *world) {
		t.Helper()
		through.repository(prodHost, "suite", "team/app").wantImage(t, "1", img)
	}
	const early, late = 3, 2 // each pulls an index and a manifest
	for range early {
		pull(doomed.world(t))
	}
	recorded := func(pulls int64) {
		t.Helper()
		await.True(t, 30*time.Second, "pulls are recorded", func() bool { return w.used(t)["pulls"] >= pulls })
	}
	recorded(2 * early)
	for range late {
		pull(doomed.world(t))
	}
	doomed.kill()
	pull(w)
	recorded(2 * (early + 1))
	if got := w.used(t); got["pulls"] > 2*(early+late+1) || got["pushes"] != 3 { // of an index by its digest and by its tag, and of a manifest
		t.Errorf("recorded %+v", got)
	}
	w.stop(t)
	w.wantSound(t)
}
