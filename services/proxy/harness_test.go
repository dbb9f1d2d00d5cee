package proxy_test

import (
	"context"
	"flag"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/proxy"
	"github.com/berth-registry/berth/services/proxy/fetch"
	"github.com/berth-registry/berth/tools/testserver"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil { // those that run in parallel mostly wait
		panic(err)
	}
	testserver.Main(m)
}

// world is a tenant with the registries main, dev and prod, and a proxy service
// that serves it for what dev does not have.
type world struct {
	*fronttest.Deployment
	t         testing.TB
	dev, prod tenant.Site
	proxy     *proxy.Service
	fetches   *fetch.Fetches
	ahead     *atomic.Int64  // of the clock
	nodes     []http.Handler // all processes; the first is that of proxy
}

// nodeHeader says which of the nodes a request is for, from 0.
const nodeHeader = "X-Test-Node"

// plain are the secrets of tests: not sealed.
type plain struct{}

func (plain) Open(sealed []byte, _ string) (string, error) { return string(sealed), nil }

// newWorld makes a world that waits for upstreams as long as production does.
func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldWith(t, 0)
}

// newHub makes a world in which dev asks one upstream, "hub", that does as it is
// told.
func newHub(t testing.TB) (*world, *testserver.Scripted) {
	t.Helper()
	w := newWorld(t)
	up := testserver.StartScripted(t)
	w.upstream("hub", up.URL(), nil)
	w.chain(meta.Member{Upstream: "hub"})
	return w, up
}

// impatient is long enough for every upstream of this process that answers.
const impatient = 2 * time.Second

func newWorldWith(t testing.TB, patience time.Duration) *world {
	t.Helper()
	return newWorldBy(t, upstream.Options{Patience: patience})
}

// newWorldBy makes a world whose upstreams, in loopback networks, are asked with the
// options.
func newWorldBy(t testing.TB, o upstream.Options) *world {
	t.Helper()
	w := &world{t: t, ahead: &atomic.Int64{}}
	now := func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }
	d := fronttest.NewWith(t, sqlitemeta.Options{Now: now})
	w.Deployment = d
	d.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	w.sites("acme")
	w.fetches = fetch.New(fetch.Config{Meta: d.Meta, Blobs: d.Blobs, Leases: lease.NewMemory(), Dir: t.TempDir(), Log: d.Log})
	t.Cleanup(func() {
		if err := w.fetches.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	o.Allow, o.Log = []upstream.Network{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}, d.Log
	w.proxy = proxy.New(proxy.Config{
		Meta: d.Meta, Blobs: d.Blobs, Secrets: plain{}, Leases: lease.NewMemory(), Fetches: w.fetches, Log: d.Log, Now: now,
		Upstreams: upstream.New(o),
	})
	w.nodes = []http.Handler{proxy.NewHandler(w.proxy, d.Middlewares()...)}
	h := front.BeforeProxy(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		node, _ := strconv.Atoi(r.Header.Get(nodeHeader)) // without one, the first
		w.nodes[node].ServeHTTP(rw, r)
	}))
	d.Serve(front.Services{Registry: h, Proxy: h}) // as if nothing were hosted in dev
	return w
}

// sites makes the tenant.
func (w *world) sites(slug string) {
	w.t.Helper()
	main := w.Tenant(slug, tenant.Settings{AnonymousPull: true})
	w.dev = w.Registry(main, "dev", tenant.Settings{AnonymousPull: true})
	w.prod = w.Registry(main, "prod", tenant.Settings{AnonymousPull: true})
}

// another is another tenant of the same deployment.
func (w *world) another(slug string) *world {
	w.t.Helper()
	other := *w
	other.sites(slug)
	return &other
}

// upstream makes an upstream; change is made to its settings.
func (w *world) upstream(slug, url string, change func(*meta.UpstreamSettings)) meta.Upstream {
	w.t.Helper()
	s := meta.UpstreamSettings{
		UpstreamTarget: meta.UpstreamTarget{URL: url}, TagTTL: tagTTL, NegativeTTL: 30 * time.Second, StaleIfError: 24 * time.Hour, Keep: 24 * time.Hour,
	}
	if change != nil {
		change(&s)
	}
	u, err := w.Meta.CreateUpstream(w.t.Context(), fronttest.By(), meta.Upstream{Tenant: w.dev.Tenant, Slug: slug, Settings: s})
	if err != nil {
		w.t.Fatal(err)
	}
	w.proxy.Clear()
	return u
}

// chain makes these the members of dev's group.
func (w *world) chain(members ...meta.Member) {
	w.t.Helper()
	ctx := w.t.Context()
	g := meta.Group{Tenant: w.dev.Tenant, Slug: "chain", Members: members}
	if _, err := w.Meta.CreateGroup(ctx, fronttest.By(), g); err != nil {
		w.t.Fatal(err)
	}
	r, err := w.Meta.FindRegistry(ctx, w.dev.Tenant, "dev")
	if err == nil {
		r.Settings.UpstreamGroup = "chain"
		_, err = w.Meta.UpdateRegistry(ctx, fronttest.By(), r)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.Sites.Clear()
	w.proxy.Clear()
}

// tagTTL is that of upstreams that do not say otherwise.
const tagTTL = 5 * time.Minute

// pass lets time pass.
func (w *world) pass(d time.Duration) { w.ahead.Add(int64(d)) }

// get asks dev.
func (w *world) get(path string) fronttest.Answer {
	w.t.Helper()
	return w.Do(fronttest.Request{Host: w.dev.Host, Path: path})
}

// head asks as clients do that pull: by a token, which anyone gets (contract row
// G1).
func (w *world) head(path string) fronttest.Answer {
	w.t.Helper()
	route, err := ocihttp.ParsePath(path)
	if err != nil {
		w.t.Fatal(err)
	}
	token := w.Token(w.dev, access.Principal{}, access.Repository(route.Name, access.Pull))
	return w.Do(fronttest.Request{Method: http.MethodHead, Host: w.dev.Host, Path: path, Bearer: token})
}

// pull pulls an image as clients do: the index, its manifest, then all blobs. It
// ends at the first answer that is not 200, or not whole, or not right.
func (w *world) pull(prefix, name, tag string, img ocitest.Image) (int, bool) {
	w.t.Helper()
	base := "/v2/" + prefix + name
	for _, step := range []struct {
		path string
		want ocitest.Content
	}{{base + "/manifests/" + tag, img.Index}, {base + "/manifests/" + img.Manifest.Digest.String(), img.Manifest}} {
		if status, ok := w.fetch(step.path, step.want); !ok {
			return status, false
		}
	}
	for _, b := range img.Blobs() {
		if status, ok := w.fetch(base+"/blobs/"+b.Digest.String(), b); !ok {
			return status, false
		}
	}
	return http.StatusOK, true
}

// fetch says what became of one request; the status of an answer that broke off
// is 0.
func (w *world) fetch(path string, want ocitest.Content) (int, bool) {
	w.t.Helper()
	a, err := w.Send(fronttest.Request{Host: w.dev.Host, Path: path})
	switch {
	case err != nil:
		return 0, false
	case a.Status != http.StatusOK:
		return a.Status, false
	case a.Body != string(want.Bytes):
		w.t.Errorf("GET %s: %d bytes that are not what was pushed", path, len(a.Body))
		return a.Status, false
	default:
		return a.Status, true
	}
}

// wantPull fails the test unless the image can be pulled.
func (w *world) wantPull(prefix, name, tag string, img ocitest.Image) {
	w.t.Helper()
	if status, ok := w.pull(prefix, name, tag, img); !ok {
		w.t.Fatalf("pull of %s%s:%s ended with %d", prefix, name, tag, status)
	}
}

// push puts an image into a hosted repository.
func (w *world) push(to tenant.Site, name, tag string, img ocitest.Image) {
	w.t.Helper()
	r := fronttest.Repo(to, name)
	for _, b := range img.Blobs() {
		w.PutBlob(r, b.Bytes)
	}
	w.PutManifest(r, img.Manifest.Bytes)
	w.PutManifest(r, img.Index.Bytes, tag)
}

// resolve is how dev resolves a tag.
func (w *world) resolve(name, tag string) chain.Trace {
	w.t.Helper()
	a, err := w.proxy.Resolve(w.t.Context(), w.dev.Tenant, w.dev.TenantSlug, "dev", name, oci.Reference{Tag: tag}, false, chain.PullsAll)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// story is an account in one line.
func story(a chain.Trace) string {
	parts := make([]string, len(a.Answers))
	for i, answer := range a.Answers {
		parts[i] = answer.Member + " " + string(answer.Outcome)
		if i == a.Winner {
			parts[i] += "!"
		}
	}
	return strings.Join(parts, ", ")
}
