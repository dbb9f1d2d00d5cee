package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/internal/signedcall"
	"github.com/berth-registry/berth/services/proxy"
	"github.com/berth-registry/berth/services/proxy/fetch"
	"github.com/berth-registry/berth/tools/testserver"
)

// node starts another process on the stores of the world, which shares leases
// with others. It returns where the others reach it.
func (w *world) node(leases lease.Leases, calls *access.Internal) *httptest.Server {
	w.t.Helper()
	flights := proxy.Flights{Calls: calls, Log: w.Log}
	internal := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { flights.ServeHTTP(rw, r) }))
	flights.Self = internal.URL
	flights.Fetches = fetch.New(fetch.Config{
		Meta: w.Meta, Blobs: w.Blobs, Leases: leases, Dir: w.t.TempDir(), Log: w.Log,
		Self: internal.URL, Peer: proxy.NewPeers(calls, nil).Open,
	})
	s := proxy.New(proxy.Config{
		Meta: w.Meta, Blobs: w.Blobs, Secrets: plain{}, Leases: leases, Fetches: flights.Fetches, Log: w.Log,
		Upstreams: upstream.New(upstream.Options{Allow: []upstream.Network{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}, Log: w.Log}),
	})
	w.nodes = append(w.nodes, proxy.NewHandler(s))
	w.t.Cleanup(func() {
		if err := flights.Fetches.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
		internal.Close()
	})
	return internal
}

// TestE14_ThreeNodesAskOnce has them pull the same at the same time.
func TestE14_ThreeNodesAskOnce(t *testing.T) {
	w, up, _ := oneUpstream(t)
	leases, calls := lease.NewMemory(), access.NewInternal("0123456789abcdef0123456789abcdef")
	const nodes = 3
	for range nodes {
		w.node(leases, calls)
	}
	requests := requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	up.SetLatency(20 * time.Millisecond)
	together(dice.Count(t, 90, 1000), func(i int) {
		for _, r := range requests {
			a, err := w.Send(fronttest.Request{Host: w.dev.Host, Path: r.path, Header: fronttest.Headers(nodeHeader, strconv.Itoa(1+i%nodes))})
			if err != nil || a.Status != http.StatusOK || a.Body != string(r.want.Bytes) {
				t.Errorf("GET %s: %d, %d bytes, %v", r.path, a.Status, len(a.Body), err)
				return
			}
		}
	})
	for _, r := range requests {
		if n := up.Count(http.MethodGet, r.path); n != 1 {
			t.Errorf("GET %s was asked of the upstream %d times, want once", r.path, n)
		}
	}
}

// TestFlights_AreForThisDeployment asks the internal listener without its key,
// and for what is not in flight.
func TestFlights_AreForThisDeployment(t *testing.T) {
	w, up, cache := oneUpstream(t)
	known := access.NewInternal("0123456789abcdef0123456789abcdef")
	internal := w.node(lease.NewMemory(), known)
	target := fetch.Target{Repo: cache, Digest: up.Image.Config.Digest, Size: -1}
	for name, other := range map[string]*access.Internal{"another key": access.NewInternal("another"), "nothing in flight": known} {
		if part, err := proxy.NewPeers(other, nil).Open(t.Context(), internal.URL, target, 0); err == nil {
			_ = part.Body.Close() // it should not be there
			t.Errorf("%s: something is answered", name)
		}
	}
	resp, err := internal.Client().Get(internal.URL + proxy.FlightsPath + "1/2/" + string(target.Digest) + "?hops=0&name=a")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // only the status matters
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("not signed: %d", resp.StatusCode)
	}
	for _, path := range []string{
		"nothing", "1/2/", "1/2/sha256:abc?hops=0&name=a", "x/2/" + string(target.Digest) + "?hops=0", "1/2/" + string(target.Digest) + "?name=a",
	} {
		path = proxy.FlightsPath + path
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, internal.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := known.Sign(access.InternalCall{InternalRequest: signedcall.Describe(r)})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(signedcall.Header, signed)
		resp, err := internal.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // only the status matters
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("GET %s: %d", path, resp.StatusCode)
		}
	}
}

// TestT23_APeerSendsTheRest: a process that has some of a blob reads the rest from the one
// that fetches it.
func TestT23_APeerSendsTheRest(t *testing.T) {
	w, up, cache := oneUpstream(t)
	known := access.NewInternal("0123456789abcdef0123456789abcdef")
	internal := w.node(lease.NewMemory(), known)
	layer := requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image)[4]
	up.Play(testserver.Script{Fault: testserver.FaultStallInBody, On: []testserver.Part{testserver.PartBlobs}, At: 150_000, Times: 1})
	resp, err := w.open(t.Context(), layer.path, nodeHeader, "1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	size := int64(len(layer.want.Bytes))
	var parts []fetch.Part
	for _, from := range []int64{0, 1, 100_000, size - 1} {
		part, err := proxy.NewPeers(known, nil).Open(t.Context(), internal.URL, fetch.Target{Repo: cache, Digest: layer.want.Digest, Size: -1}, from)
		if err != nil || part.From != from || part.Size != size {
			t.Fatalf("from %d: %+v, %v", from, part, err)
		}
		defer part.Body.Close()
		parts = append(parts, part)
	}
	up.Stop() // the connection breaks, and the rest is asked for
	up.Start()
	for _, p := range parts {
		if got, err := io.ReadAll(p.Body); err != nil || string(got) != string(layer.want.Bytes[p.From:]) {
			t.Errorf("from %d: %d bytes, %v", p.From, len(got), err)
		}
	}
}

// TestS94_FlightsAreReadOfOneProcess sends what was signed for one to another.
func TestS94_FlightsAreReadOfOneProcess(t *testing.T) {
	w, up, cache := oneUpstream(t)
	known := access.NewInternal("0123456789abcdef0123456789abcdef")
	one, other := w.node(lease.NewMemory(), known), w.node(lease.NewMemory(), access.NewInternal("0123456789abcdef0123456789abcdef"))
	target := fetch.Target{Repo: cache, Digest: up.Image.Config.Digest, Size: -1}
	path := fmt.Sprintf("%s%d/%d/%s?hops=0&name=a", proxy.FlightsPath, target.Repo.Tenant, target.Repo.Registry, target.Digest)
	ask := func(at *httptest.Server, host string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			r.Host = host
		}
		signed, err := known.Sign(access.InternalCall{InternalRequest: signedcall.Describe(r)})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(signedcall.Header, signed)
		resp, err := at.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // only the status matters
		return resp.StatusCode
	}
	if got := ask(one, ""); got != http.StatusNotFound {
		t.Errorf("asked as it is called: %d, want 404", got)
	}
	if got := ask(other, one.Listener.Addr().String()); got != http.StatusForbidden {
		t.Errorf("signed for another: %d, want 403", got)
	}
}

// TestRun_WritesDownWhatWasPulled lets the service end, which writes what is
// left.
func TestRun_WritesDownWhatWasPulled(t *testing.T) {
	w, up, cache := oneUpstream(t)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	w.wantEverything(cache, up.Image)
	run := func() {
		ended, end := context.WithCancel(t.Context())
		end()
		w.proxy.Run(ended)
	}
	run()
	u, err := w.Meta.FindUpstream(t.Context(), w.dev.Tenant, "hub")
	if err != nil || u.Status.State != string(upstream.Healthy) || u.Status.SucceededAt.IsZero() || u.Status.Failure != "" {
		t.Errorf("after a pull: %+v, %v", u.Status, err)
	}
	// Pulled again in time, it is kept for as long again; by index too.
	for range 3 {
		w.pass(20 * time.Hour) // it is kept for 24
		up.Script(testserver.Fault500)
		w.fetch("/v2/"+testserver.ScriptedName+"/manifests/"+up.Image.Manifest.Digest.String(), up.Image.Manifest)
		run()
		if _, err := w.Meta.ExpireCached(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []ocitest.Content{up.Image.Index, up.Image.Manifest} {
		if _, err := w.Meta.FindManifest(t.Context(), cache, oci.Reference{Digest: m.Digest}); err != nil {
			t.Errorf("manifest %s, pulled every 20 hours: %v", m.Digest, err)
		}
	}
	w.get("/v2/" + testserver.ScriptedName + "/manifests/other")
	run()
	if u, err = w.Meta.FindUpstream(t.Context(), w.dev.Tenant, "hub"); err != nil || u.Status.FailedAt.IsZero() || u.Status.Failure == "" {
		t.Errorf("after a failure: %+v, %v", u.Status, err)
	}
	w.pass(25 * time.Hour)
	if n, err := w.Meta.ExpireCached(t.Context(), 100); err != nil || n == 0 {
		t.Errorf("%d manifests expire that no one pulls: %v", n, err)
	}
	if _, err := w.Meta.FindManifest(t.Context(), cache, oci.Reference{Digest: up.Image.Index.Digest}); err == nil {
		t.Error("what no one pulled is kept")
	}
}
