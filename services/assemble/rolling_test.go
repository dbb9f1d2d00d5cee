package assemble_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot"
)

// load is clients that push and pull small images, and try again what failed.
type load struct {
	t      *testing.T
	w      *world
	name   string
	pushed atomic.Int64 // images that were acknowledged
	failed atomic.Int64 // requests
}

// retryable are the answers after which a client tries again.
var retryable = []int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// run has that many clients work until stop is closed, or has each of them push
// that many images.
func (l *load) run(clients, images int, stop <-chan struct{}) *sync.WaitGroup {
	var all sync.WaitGroup
	for i := range clients {
		r := l.w.repository(uploadsHost, "suite", fmt.Sprintf("%s/%d", l.name, i))
		all.Go(func() {
			for j := 0; j < images; j++ {
				select {
				case <-stop:
					return
				default:
				}
				l.image(r, fmt.Sprintf("v%d", j))
			}
		})
	}
	return &all
}

// image pushes one, and pulls it.
func (l *load) image(r repository, tag string) {
	content := fmt.Appendf(nil, `{"content":"%s %s"}`, r.name, tag)
	config := describe(typeConfig, content)
	if !l.persist("the push of "+config.Digest.String(), func() bool { return l.blob(r, config.Digest, content) }) {
		return
	}
	m := encode(l.t, typeImage, imageOf(config))
	header := headers("Content-Type", m.MediaType)
	l.until(r, request{method: http.MethodPut, target: r.at("manifests/%s", tag), header: header, body: m.payload}, http.StatusCreated)
	l.pushed.Add(1)
	l.until(r, request{method: http.MethodGet, target: r.at("manifests/%s", tag)}, http.StatusOK)
	l.until(r, request{method: http.MethodGet, target: r.at("blobs/%s", config.Digest)}, http.StatusOK)
}

// blob pushes one in a session; where a step fails all is to be done again, as
// clients do.
func (l *load) blob(r repository, d digest.Digest, content []byte) bool {
	started, ok := l.once(r, request{method: http.MethodPost, target: r.at("blobs/uploads/")}, http.StatusAccepted)
	if !ok {
		return false
	}
	target := withQuery(l.t, path(l.t, started.header.Get("Location")), "digest", d.String())
	_, ok = l.once(r, request{method: http.MethodPut, target: target, header: headers("Content-Type", typeBytes), body: content}, http.StatusCreated)
	return ok
}

// until asks until it is answered.
func (l *load) until(r repository, q request, want int) {
	l.persist(q.method+" "+q.target, func() bool {
		_, ok := l.once(r, q, want)
		return ok
	})
}

// persist tries until it succeeds, and fails the test where that takes too often.
func (l *load) persist(what string, try func() bool) bool {
	for range 100 {
		if try() {
			return true
		}
	}
	l.t.Errorf("%s never succeeded", what)
	return false
}

// once tries once, and waits a moment where that failed.
func (l *load) once(r repository, q request, want int) (answer, bool) {
	a, err := r.try(q)
	if err == nil && a.status == want {
		return a, true
	}
	if err == nil && !slices.Contains(retryable, a.status) {
		l.t.Errorf("%s: got status %d, want %d or one to try again after; body %s", a.what, a.status, want, clip(string(a.body)))
	}
	l.failed.Add(1)
	<-time.After(50 * time.Millisecond)
	return a, false
}

// wantAll fails the test unless every image that was acknowledged is there.
func (l *load) wantAll(clients int) {
	l.t.Helper()
	found := 0
	for i := range clients {
		tags, _ := l.w.repository(uploadsHost, "suite", fmt.Sprintf("%s/%d", l.name, i)).tags(l.t, "")
		found += len(tags)
	}
	if pushed := int(l.pushed.Load()); found != pushed || pushed == 0 {
		l.t.Errorf("%d images are there, %d were acknowledged", found, pushed)
	}
}

// TestR13_RollingRestart stops and starts each node in turn while clients push
// and pull: what fails is in flight, and succeeds at the next try.
func TestR13_RollingRestart(t *testing.T) {
	const clients, restarts = 8, 9
	w := startSplit(t, uploadsSeed, "")
	l := &load{t: t, w: w, name: "rolling"}
	stop := make(chan struct{})
	working := l.run(clients, 1_000_000, stop)
	end := sync.OnceFunc(func() {
		close(stop)
		working.Wait()
	})
	defer end()
	for i, n := range w.nodes {
		if n.config.Runs(boot.AdminService) || n.config.Runs(boot.JanitorService) {
			continue
		}
		before := l.pushed.Load()
		await.True(t, 30*time.Second, "work to continue", func() bool { return l.pushed.Load() >= before+clients })
		began := time.Now()
		n.stop(t)
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("a node took %s to drain", took)
		}
		w.nodes[i] = n.again(t)
	}
	end()
	t.Logf("%d images, %d failed requests", l.pushed.Load(), l.failed.Load())
	if failed := l.failed.Load(); failed > clients*restarts {
		t.Errorf("%d requests failed: more than can have been in flight", failed)
	}
	l.wantAll(clients)
	w.stop(t)
	w.wantSound(t)
}

// Any number of nodes may start at the same moment on servers that hold nothing:
// one migrates, makes the signing key, and applies the seed.
func TestNodesStartTogether(t *testing.T) {
	const nodes = 4
	c := seeded(t, servers(t, ""), uploadsSeed)
	started := make([]*node, nodes)
	errs := make([]error, nodes)
	var all sync.WaitGroup
	for i := range nodes {
		all.Go(func() { started[i], errs[i] = launch(t, onFreePorts(c)) })
	}
	all.Wait()
	for i, n := range started {
		if errs[i] != nil {
			t.Errorf("node %d: %v", i, errs[i])
			continue
		}
		t.Cleanup(func() { n.stop(t) })
	}
	if t.Failed() {
		return
	}
	// A token that one of them made is good at all of them.
	w := newWorld(t, started[0].at("data_addr"), started...)
	r := w.withToken(t, w.repository(uploadsHost, "suite", "together"))
	m := r.push(t, w.repository(uploadsHost, "suite", "together").image(t, nil), "latest")
	for _, n := range started {
		other := w.through(t, n).repository(uploadsHost, "suite", r.name)
		other.client = &http.Client{Transport: bearing{clientOf(t, n.at("data_addr")).Transport, r.client.Transport.(bearing).token}}
		other.wantManifest(t, "latest", m)
	}
	if tenants := w.count(t, `SELECT count(*) FROM tenants WHERE state = 'active'`); tenants != 1 {
		t.Errorf("%d tenants", tenants)
	}
	w.stop(t)
	w.wantSound(t)
}
