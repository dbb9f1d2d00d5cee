package front_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// limited is a deployment whose tenant acme is held to limits.
func limited(t *testing.T, l tenant.RateLimits, processes int64) (*fronttest.Deployment, *prometheus.Registry) {
	t.Helper()
	d := openDeployment(t)
	acme, err := d.Meta.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	acme.RateLimits = l
	if _, err := d.Meta.UpdateTenant(t.Context(), fronttest.By(), acme); err != nil {
		t.Fatal(err)
	}
	d.Sites.Clear()
	metrics := prometheus.NewRegistry()
	d.Rates = front.NewRates(front.RateConfig{Limits: limit.NewRates(), Processes: func() int64 { return processes }, Metrics: metrics})
	return d, metrics
}

const list = "/v2/app/tags/list"

// wantLimited checks that a request is refused by a rate limit of acme.
func wantLimited(t *testing.T, a fronttest.Answer, text string) {
	t.Helper()
	wait, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if a.Status != http.StatusTooManyRequests || a.Code() != "TOOMANYREQUESTS" || !strings.Contains(a.Body, text) || err != nil || wait < 1 || wait > 60 {
		t.Errorf("%d %s, Retry-After %q: want a refusal that says %q", a.Status, a.Body, a.Header.Get("Retry-After"), text)
	}
}

// until sends requests until one is refused, and returns how many were not.
func until(t *testing.T, d *fronttest.Deployment, r fronttest.Request, most int) (int, fronttest.Answer) {
	t.Helper()
	for n := range most {
		if a := d.Do(r); a.Status == http.StatusTooManyRequests {
			return n, a
		}
	}
	t.Fatalf("%d requests are not refused", most)
	return 0, fronttest.Answer{}
}

func TestW230_ATenantIsHeldToItsRate(t *testing.T) {
	d, metrics := limited(t, tenant.RateLimits{Tenant: tenant.RateLimit{Requests: 15}}, 1)
	serveReached(d)
	n, refused := until(t, d, fronttest.Request{Host: "acme.localhost", Path: list}, 1000)
	if n < 30 {
		t.Errorf("only %d of what two seconds bring", n)
	}
	wantLimited(t, refused, "tenant acme may send 15 requests a second")
	for range 100 {
		if a := d.Do(fronttest.Request{Host: "other.localhost", Path: list}); a.Status != http.StatusOK {
			t.Fatalf("another tenant: %d %s", a.Status, a.Body)
		}
	}
	if n := testutil.CollectAndCount(metrics, "berth_rate_limited_total"); n != 1 {
		t.Errorf("%d metrics of refusals", n)
	}
}

func TestW232_ACallerIsHeldToItsRate(t *testing.T) {
	d, _ := limited(t, tenant.RateLimits{Caller: tenant.RateLimit{Requests: 15}}, 1)
	site := d.Site("acme.localhost")
	d.Account(site, "ci", access.Reader)
	d.Account(site, "dev", access.Reader)
	serveReached(d)
	_, refused := until(t, d, fronttest.Request{Host: "acme.localhost", Path: list, Basic: "ci"}, 1000)
	wantLimited(t, refused, "a caller of tenant acme may send 15 requests a second")
	for name, r := range map[string]fronttest.Request{"another account": {Basic: "dev"}, "an address": {}} {
		r.Host, r.Path = "acme.localhost", list
		if a := d.Do(r); a.Status != http.StatusOK {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
}

// Requests of callers without any right, and requests for tokens, are refused by what their
// address may send, and use up nothing of the tenant's rate.
func TestW234_StrangersUseUpNoRate(t *testing.T) {
	d, _ := limited(t, tenant.RateLimits{Tenant: tenant.RateLimit{Requests: 15}}, 1)
	private := d.Registry(d.Site("acme.localhost"), "private", tenant.Settings{})
	d.Account(private, "ci", access.Reader)
	serveReached(d)
	for range 100 {
		for path, want := range map[string]int{list: http.StatusOK, "/v2/": http.StatusUnauthorized, "/token": http.StatusOK} {
			if a := d.Do(fronttest.Request{Host: "private.acme.localhost", Path: path}); a.Status != want {
				t.Fatalf("%s: %d %s", path, a.Status, a.Body)
			}
		}
	}
	if n, _ := until(t, d, fronttest.Request{Host: "private.acme.localhost", Path: list, Basic: "ci"}, 1000); n < 30 {
		t.Errorf("%d requests of an account", n)
	}
}

// What is sent takes as long as the rate says, and a client that was sent more than ten
// seconds bring is refused until then.
func TestW235_EgressIsHeldToItsRate(t *testing.T) {
	t.Parallel()
	const rate, size = 2 << 20, 6 << 20
	d, _ := limited(t, tenant.RateLimits{Caller: tenant.RateLimit{Egress: rate}}, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("redirect") {
			front.CallOf(r.Context()).CountRedirect(w.Header(), 30*rate)
			return
		}
		_, _ = io.CopyN(w, zeros{}, size)
	})
	d.Serve(front.Services{Registry: h, Upload: h, Token: h})
	began := time.Now()
	a := d.Do(fronttest.Request{Host: "acme.localhost", Path: list})
	if took := time.Since(began); len(a.Body) != size || took < (size-2*rate)*time.Second/rate*9/10 {
		t.Errorf("%d bytes in %s", len(a.Body), took)
	}
	began = time.Now()
	if a := d.Do(fronttest.Request{Host: "other.localhost", Path: list}); a.Status != http.StatusOK || time.Since(began) > 10*time.Second {
		t.Errorf("another tenant: %d in %s", a.Status, time.Since(began))
	}
	redirected := fronttest.Request{Host: "acme.localhost", Path: list + "?redirect"}
	d.Do(redirected)
	wantLimited(t, d.Do(redirected), "a caller of tenant acme may be sent 2097152 bytes a second")
}

// zeros is any number of bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestW233_UploadsAtOnce(t *testing.T) {
	d, _ := limited(t, tenant.RateLimits{Tenant: tenant.RateLimit{Uploads: 4}}, 2) // two processes, two here
	var inside, most atomic.Int64
	goOn := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := inside.Add(1)
		defer inside.Add(-1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		<-goOn
		reached(w, r)
	})
	d.Serve(front.Services{Registry: http.HandlerFunc(reached), Upload: h, Token: h})
	var uploads sync.WaitGroup
	var statuses [6]int
	for i := range statuses {
		uploads.Go(func() {
			a, err := d.Send(fronttest.Request{Method: http.MethodPost, Host: "acme.localhost", Path: "/v2/app/blobs/uploads/", Body: "a blob"})
			if err != nil {
				t.Error(err)
			}
			statuses[i] = a.Status
		})
	}
	await.True(t, 30*time.Second, "two are received", func() bool { return inside.Load() == 2 })
	if a := d.Do(fronttest.Request{Host: "acme.localhost", Path: list}); a.Status != http.StatusOK {
		t.Errorf("a list beside: %d", a.Status)
	}
	close(goOn)
	uploads.Wait()
	if most.Load() > 2 {
		t.Errorf("%d at once", most.Load())
	}
	for i, status := range statuses {
		if status != http.StatusOK {
			t.Errorf("upload %d: %d", i, status)
		}
	}
}
