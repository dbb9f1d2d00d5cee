package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/tools/testserver"
)

// public is the public name of a world: what is sent there is for its dev. It
// counts, and notes the hops.
type public struct {
	*httptest.Server
	mu   sync.Mutex
	hops []string
}

func (w *world) public() *public {
	w.t.Helper()
	to, err := url.Parse(w.Server.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	p := &public{}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = w.dev.Host
	}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.hops = append(p.hops, r.Header.Get(ocihttp.HeaderHops))
		p.mu.Unlock()
		forward.ServeHTTP(rw, r)
	}))
	w.t.Cleanup(p.Close)
	return p
}

func (p *public) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.hops = nil }()
	return p.hops
}

// TestE12_ChainsOverPublicNamesEnd has a registry that is its own upstream, and
// two that are each other's.
func TestE12_ChainsOverPublicNamesEnd(t *testing.T) {
	img := ocitest.NewImage(60, 1000)
	for _, path := range []string{
		"/v2/library/app/manifests/1", "/v2/library/app/manifests/" + img.Index.Digest.String(),
		"/v2/library/app/blobs/" + img.Config.Digest.String(),
		"/v2/library/app/tags/list", "/v2/library/app/referrers/" + img.Index.Digest.String(),
	} {
		for _, rounds := range []int{1, 2} {
			// New for each: failures in a row make an upstream be left alone.
			worlds, names := make([]*world, rounds), make([]*public, rounds)
			for i := range worlds {
				worlds[i] = newWorld(t)
				names[i] = worlds[i].public()
			}
			for i, w := range worlds {
				w.upstream("next", names[(i+1)%rounds].URL, nil)
				w.chain(meta.Member{Upstream: "next"})
			}
			start := time.Now()
			a := worlds[0].get(path)
			took := time.Since(start)
			var hops []string
			for _, p := range names {
				hops = append(hops, p.take()...)
			}
			if a.Status != http.StatusBadGateway && a.Status != http.StatusLoopDetected {
				t.Errorf("%d registries: GET %s: %d %s", rounds, path, a.Status, a.Body)
			}
			if len(hops) >= 10 || len(hops) == 0 {
				t.Errorf("%d registries: GET %s: %d requests, with hops %v", rounds, path, len(hops), hops)
			}
			if took > time.Second {
				t.Errorf("%d registries: GET %s took %v", rounds, path, took)
			}
		}
	}
}

// TestE12_AChainOfRegistriesWorks is the same where it leads to an end, by as
// many registries as there may be.
func TestE12_AChainOfRegistriesWorks(t *testing.T) {
	up := testserver.StartScripted(t)
	next := up.URL()
	var w *world
	for range 4 {
		w = newWorld(t)
		w.upstream("next", next, nil)
		w.chain(meta.Member{Upstream: "next"})
		next = w.public().URL
	}
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	for _, r := range up.Requests() {
		if hops, err := strconv.Atoi(r.Header.Get(ocihttp.HeaderHops)); err != nil || hops != 4 {
			t.Errorf("%s %s came with hops %q", r.Method, r.Path, r.Header.Get(ocihttp.HeaderHops))
		}
	}
}
