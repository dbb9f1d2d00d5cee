package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/internal/usage"
	"github.com/berth-registry/berth/services/registry"
	"github.com/berth-registry/berth/tools/testserver"
)

// onS3 is a bench whose blobs are in S3, behind a gate.
type onS3 struct {
	*bench
	store *s3blob.Store
	gate  *gate
}

func startOnS3(t *testing.T, settings tenant.Settings) onS3 {
	t.Helper()
	return startOnS3At(t, settings, web.Pace{})
}

func startOnS3At(t *testing.T, settings tenant.Settings, pace web.Pace) onS3 {
	t.Helper()
	address, g := newGate(t)
	store, err := s3blob.Open(t.Context(), address, s3blob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	d := fronttest.New(t)
	d.Pace, d.Usage = pace, usage.New(d.Meta, d.Log)
	svc := registry.New(registry.Config{Meta: d.Meta, Blobs: store, Log: d.Log})
	d.Serve(front.Services{Registry: registry.NewHandler(svc, front.NotConfigured("proxy", "proxy_url"), d.Middlewares()...)})
	b := &bench{Deployment: d, t: t, site: d.Tenant("acme", settings)}
	d.Account(b.site, "admin", access.Admin)
	return onS3{b, store, g}
}

// put stores a blob: pushed to the deployment's files, its bytes are copied to
// where the service looks for them. It returns the blob's path.
func (o onS3) put(name string, content []byte) (meta.Blob, string) {
	o.t.Helper()
	b := o.PutBlob(o.repo(name), content)
	o.copy(b.Key, content)
	return b, "/v2/" + name + "/blobs/" + b.Digest.String()
}

func (o onS3) copy(k blob.Key, content []byte) {
	o.t.Helper()
	c := &copying{Reader: bytes.NewReader(content), stage: blob.Stage{Key: k, Epoch: 1}}
	if err := o.store.Append(o.t.Context(), c.stage, c, c); err != nil {
		o.t.Fatal(err)
	}
	if _, err := o.store.Seal(o.t.Context(), c.stage); err != nil {
		o.t.Fatal(err)
	}
}

// copying is a source, and a journal that keeps the stage.
type copying struct {
	*bytes.Reader
	stage blob.Stage
}

func (c *copying) Mark() ([]byte, error)                  { return nil, nil }
func (c *copying) Intend(context.Context, blob.Key) error { return nil }
func (c *copying) Multipart(_ context.Context, id string) error {
	c.stage.Multipart = id
	return nil
}

func (c *copying) Step(_ context.Context, p blob.Progress) error {
	c.stage.Offset, c.stage.Tail, c.stage.Parts = p.Offset, p.Tail, append(c.stage.Parts, p.Parts...)
	return nil
}

// gate stands before the store, counts requests by method, and changes what it
// answers to GET.
type gate struct {
	mu      sync.Mutex
	counts  map[string]int
	instead func(w http.ResponseWriter, whole *httptest.ResponseRecorder)
}

func newGate(t *testing.T) (string, *gate) {
	t.Helper()
	g := &gate{counts: make(map[string]int)}
	address, _ := testserver.S3Behind(t, func(pass http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			instead := g.count(r.Method)
			if instead == nil || r.Method != http.MethodGet {
				pass.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			pass.ServeHTTP(rec, r)
			for name, values := range rec.Header() {
				w.Header()[name] = values
			}
			instead(w, rec)
		})
	})
	return address, g
}

func (g *gate) count(method string) func(http.ResponseWriter, *httptest.ResponseRecorder) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.counts[method]++
	return g.instead
}

// answer changes what GET is answered with from now on and counts again.
func (g *gate) answer(instead func(http.ResponseWriter, *httptest.ResponseRecorder)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.counts, g.instead = make(map[string]int), instead
}

func (g *gate) counted() (int, int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts[http.MethodGet], g.counts[http.MethodHead]
}

func TestPullFromS3IsOneRequest(t *testing.T) {
	o := startOnS3(t, tenant.Settings{})
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	_, path := o.put("app", content)
	for _, c := range []struct {
		header []string
		want   []byte
	}{
		{nil, content},
		{[]string{"Range", "bytes=100-199"}, content[100:200]},
		{[]string{"Range", "bytes=200000-"}, content[200000:]},
		{[]string{"Range", "bytes=-7"}, content[len(content)-7:]},
	} {
		o.gate.answer(nil)
		if got := o.do("GET", path, c.header...); got.Body != string(c.want) {
			t.Errorf("%v: %d, %d bytes, want %d, equal", c.header, got.Status, len(got.Body), len(c.want))
		}
		if gets, heads := o.gate.counted(); gets != 1 || heads != 0 {
			t.Errorf("%v: %d GET and %d HEAD at the store, want one GET", c.header, gets, heads)
		}
	}
	o.gate.answer(nil)
	if got := o.do("HEAD", path); got.Status != http.StatusOK {
		t.Errorf("HEAD: %d", got.Status)
	}
	if gets, heads := o.gate.counted(); gets != 0 || heads != 0 {
		t.Errorf("HEAD: %d GET and %d HEAD at the store, want none", gets, heads)
	}
}

// A store sends the whole to any client that asks it for several ranges.
func TestQ19_SeveralRangesComeFromBerth(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	many := "bytes=0-0"
	for i := range 5000 {
		many += fmt.Sprintf(",%d-%d", 2*i+2, 2*i+2)
	}
	for _, redirect := range []bool{false, true} {
		o := startOnS3(t, tenant.Settings{RedirectBlobs: redirect})
		_, path := o.put("app", content)
		whole, one := http.StatusOK, http.StatusPartialContent
		if redirect {
			whole, one = http.StatusTemporaryRedirect, http.StatusTemporaryRedirect
		}
		for _, c := range []struct {
			ranges string
			status int
			gets   int // at the store, at most
		}{
			{"bytes=0-1", one, 1},
			{"bytes=0-1,50-60,-2", http.StatusPartialContent, 3},
			{"bytes=0-1,1-60", whole, 1},
			{many, whole, 1},
		} {
			o.gate.answer(nil)
			got := o.do("GET", path, "Range", c.ranges)
			if gets, _ := o.gate.counted(); got.Status != c.status || gets > c.gets {
				t.Errorf("redirect %t, %.30s: %d and %d GET at the store, want %d and %d", redirect, c.ranges, got.Status, gets, c.status, c.gets)
			}
			if strings.HasPrefix(got.Header.Get("Content-Type"), "multipart/") != (c.status == http.StatusPartialContent && strings.Contains(c.ranges, ",")) {
				t.Errorf("redirect %t, %.30s: %v", redirect, c.ranges, got.Header)
			}
		}
	}
}

// A redirect counts as what the client gets by it, of which Berth sends nothing.
func TestW254_ARedirectCountsWhatTheStoreSends(t *testing.T) {
	o := startOnS3(t, tenant.Settings{RedirectBlobs: true})
	_, path := o.put("app", bytes.Repeat([]byte("0123456789abcdef"), 1000))
	counter := o.Usage.Of(o.site.Tenant)
	for ranges, want := range map[string]int64{"": 16000, "bytes=100-199": 100, "bytes=15000-": 1000, "bytes=-10": 10, "lines=1-2": 16000} {
		o.gate.answer(nil)
		before := counter.Egress.Load()
		got := o.do("GET", path, "Range", ranges)
		if n := counter.Egress.Load() - before; got.Status != http.StatusTemporaryRedirect || n != want {
			t.Errorf("%q: %d, counted %d bytes, want %d", ranges, got.Status, n, want)
		}
	}
}

// What the store has lost or changed is never a clean answer. What is wrong is
// marked suspect, so that the next push heals it; what is merely cut off is not.
func TestR31_WrongAnswersOfTheStore(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	for name, c := range map[string]struct {
		instead func(w http.ResponseWriter, whole *httptest.ResponseRecorder)
		suspect bool
	}{
		"truncated for ever": {func(w http.ResponseWriter, _ *httptest.ResponseRecorder) {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, false},
		"a wrong byte": {func(w http.ResponseWriter, whole *httptest.ResponseRecorder) {
			b := bytes.Clone(whole.Body.Bytes())
			b[len(b)/2] ^= 1
			_, _ = w.Write(b)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := startOnS3(t, tenant.Settings{})
			_, path := o.put("app", content)
			o.gate.answer(c.instead)
			a, err := o.Send(fronttest.Request{Method: "GET", Host: o.site.Host, Path: path, Basic: "admin"})
			if err == nil {
				t.Errorf("a clean answer: %d, %d bytes", a.Status, len(a.Body))
			}
			o.gate.answer(nil)
			// A client that may push is told that a suspect one is absent.
			want := http.StatusOK
			if c.suspect {
				want = http.StatusNotFound
			}
			if got := o.do("HEAD", path); got.Status != want {
				t.Errorf("HEAD by a pusher: %d, want %d", got.Status, want)
			}
			if got := o.do("GET", path); got.Body != string(content) {
				t.Errorf("when the store is well: %d, %d bytes", got.Status, len(got.Body))
			}
		})
	}
}

// An object that is lost, or has another size, is an outage, with or without a
// redirect: "not found" would be believed.
func TestR31_LostObjectInS3(t *testing.T) {
	for _, redirects := range []bool{false, true} {
		o := startOnS3(t, tenant.Settings{RedirectBlobs: redirects})
		lost, lostPath := o.put("app", []byte("lost"))
		if err := o.store.Delete(t.Context(), lost.Key, ""); err != nil {
			t.Fatal(err)
		}
		short := o.PutBlob(o.repo("app"), []byte("short of some bytes"))
		o.copy(short.Key, []byte("short"))
		for _, path := range []string{lostPath, "/v2/app/blobs/" + short.Digest.String()} {
			for _, header := range [][]string{{"Range", "bytes=1-2"}, {"Range", "bytes=-3"}, nil} {
				got := o.do("GET", path, header...)
				o.expect("GET", got, 503, "UNAVAILABLE")
				if got.Header.Get("Location") != "" || got.Header.Get("Retry-After") == "" {
					t.Errorf("headers %v", got.Header)
				}
			}
			o.expect("HEAD by a pusher", o.do("HEAD", path), 404, "")
		}
	}
}

// follow asks where a redirect leads, without the registry's credentials.
func follow(t *testing.T, location string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, location, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = fronttest.Headers(header...)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestF1_BlobsRedirectToTheStore(t *testing.T) {
	o := startOnS3(t, tenant.Settings{RedirectBlobs: true})
	const content = "0123456789abcdefghij"
	b, path := o.put("app", []byte(content))
	for _, header := range [][]string{nil, {"Range", "bytes=2-5"}} {
		got := o.do("GET", path, header...)
		u, err := url.Parse(got.Header.Get("Location"))
		if err != nil || got.Status != http.StatusTemporaryRedirect || got.Body != "" {
			t.Fatalf("%v: %d %v %q, %v", header, got.Status, got.Header, got.Body, err)
		}
		if life := u.Query().Get("X-Amz-Expires"); life != "300" {
			t.Errorf("the URL lives for %s s", life)
		}
		if got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("Docker-Content-Digest") != b.Digest.String() || got.Header.Get("ETag") != "" {
			t.Errorf("headers %v", got.Header)
		}
		want, status := content, http.StatusOK
		if header != nil {
			want, status = content[2:6], http.StatusPartialContent
		}
		if s, body := follow(t, u.String(), header...); s != status || body != want {
			t.Errorf("%v: the store answers %d %q", header, s, body)
		}
	}
	head := o.do("HEAD", path)
	if head.Status != http.StatusOK || head.Header.Get("Content-Length") != "20" || head.Header.Get("Location") != "" {
		t.Errorf("HEAD: %d %v", head.Status, head.Header)
	}
	if got := o.do("GET", "/v2/app/blobs/"+oci.DigestOf(oci.SHA256, []byte("none")).String()); got.Status != http.StatusNotFound {
		t.Errorf("a blob that is not there: %d", got.Status)
	}

	off := o.Registry(o.site, "off", tenant.Settings{})
	other := o.PutBlob(fronttest.Repo(off, "app"), []byte("not redirected"))
	o.copy(other.Key, []byte("not redirected"))
	got := o.Do(fronttest.Request{Host: off.Host, Path: "/v2/app/blobs/" + other.Digest.String(), Basic: "admin"})
	if got.Status != http.StatusOK || got.Body != "not redirected" {
		t.Errorf("a registry that does not redirect: %d %q", got.Status, got.Body)
	}
}

// A caller that may not pull gets no URL, and a caller that got one keeps it for as long as it
// lives, also when the blob is deleted: its object outlives it by the delete
// delay.
func TestF1_RedirectsNeedRightsAndOutliveDeletion(t *testing.T) {
	o := startOnS3(t, tenant.Settings{RedirectBlobs: true})
	b, path := o.put("app", []byte("private"))
	location := o.do("GET", path).Header.Get("Location")

	stranger := o.Tenant("other", tenant.Settings{RedirectBlobs: true, AnonymousPull: true})
	o.Account(stranger, "spy", access.Admin)
	for name, req := range map[string]fronttest.Request{
		"nobody":               {Host: o.site.Host},
		"another tenant":       {Host: stranger.Host, Basic: "spy"},
		"another tenant there": {Host: o.site.Host, Basic: "spy"},
	} {
		req.Path = path
		if got := o.Do(req); got.Header.Get("Location") != "" || got.Status != http.StatusUnauthorized && got.Status != http.StatusNotFound {
			t.Errorf("%s: %d %v", name, got.Status, got.Header)
		}
	}

	o.expect("DELETE", o.do("DELETE", path), 202, "")
	o.expect("GET", o.do("GET", path), 404, "BLOB_UNKNOWN")
	if status, body := follow(t, location); status != http.StatusOK || body != "private" {
		t.Errorf("after %s was deleted the store answers %d %q", b.Digest, status, body)
	}
}

// Files cannot be fetched from a store: the switch does nothing there.
func TestRedirectsWithoutAStoreThatSigns(t *testing.T) {
	b := start(t, tenant.Settings{RedirectBlobs: true})
	stored := b.PutBlob(b.repo("app"), []byte("from a file"))
	if got := b.do("GET", "/v2/app/blobs/"+stored.Digest.String()); got.Status != http.StatusOK || got.Body != "from a file" {
		t.Errorf("%d %q", got.Status, got.Body)
	}
}
