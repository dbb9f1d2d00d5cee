package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// TestR37_BreakerOpensAndCloses: an upstream that is down is left alone, and asked
// again by one request at a time.
func TestR37_BreakerOpensAndCloses(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		asked, down, l := 0, true, patient()
		c := inMemory(t, l, func(w http.ResponseWriter, r *http.Request) {
			if asked++; down {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			sendImage(w, r)
		})
		pull := func() error {
			_, err := c.Manifest(t.Context(), "a/b", latest)
			return err
		}
		for range l.breakAfter {
			if e := wantOutage(t, pull()); e.Status != http.StatusBadGateway || e.Fault().Kind != fault.BadUpstream {
				t.Fatal(e)
			}
		}
		for i := range 5 {
			for range 100 {
				e := wantOutage(t, pull())
				if e.Status == 0 && (e.Fault().Kind != fault.Unavailable || e.Fault().RetryAfter <= 0) {
					t.Fatal(e.Fault())
				}
			}
			if want := int(l.breakAfter) + i; asked != want {
				t.Errorf("asked %d times while down for %s, want %d", asked, time.Duration(i)*l.breakFor, want)
			}
			if s := c.Status(); s.State == "closed" || s.Failure == "" {
				t.Errorf("%+v", s)
			}
			<-time.After(l.breakFor - 1)
			if before := asked; pull() == nil || asked != before {
				t.Error("asked too early")
			}
			<-time.After(2)
		}
		down = false
		if err := pull(); err != nil {
			t.Errorf("it is up again: %v", err)
		}
		if s := c.Status(); s.State != "closed" || s.SucceededAt.IsZero() {
			t.Errorf("%+v", s)
		}
	})
}

// TestR37_AnswersDoNotOpenTheBreaker: an upstream that says no is well.
func TestR37_AnswersDoNotOpenTheBreaker(t *testing.T) {
	for _, status := range []int{404, 401, 403, 400, 410, 501} {
		asked := 0
		c := serve(t, patient(), func(w http.ResponseWriter, _ *http.Request) {
			asked++
			w.WriteHeader(status)
		})
		for range 20 {
			_, _ = c.Manifest(t.Context(), "a/b", latest)
		}
		if asked != 20 || c.Status().State != "closed" {
			t.Errorf("%d: asked %d times, %+v", status, asked, c.Status())
		}
	}
}

func TestR37_DeadConnectionsOpenTheBreaker(t *testing.T) {
	l, connections := listen(t, "127.0.0.1:0")
	c := clientOf(t, newClients(Options{Allow: loopback}, patient()), Config{Target: Target{URL: "http://" + l.Addr().String()}})
	for range 50 {
		_, err := c.Manifest(t.Context(), "a/b", latest)
		wantOutage(t, err)
	}
	if n := connections.Load(); n != 5 || c.Status().State != "open" {
		t.Errorf("%d connections, %+v", n, c.Status())
	}
}

// TestR38_BacksOff: after a 429 the upstream is not asked for as long as it says,
// or a while if it does not say.
func TestR38_BacksOff(t *testing.T) {
	for name, said := range map[string]struct {
		retryAfter string
		want       time.Duration
	}{
		"seconds":    {"120", 2 * time.Minute},
		"date":       {"Sat, 01 Jan 2000 00:02:00 GMT", 2 * time.Minute}, // the clock of synctest begins with the year 2000
		"none":       {"", 10 * time.Second},
		"garbage":    {"soon", 10 * time.Second},
		"far future": {"999999999", 5 * time.Minute},
		"overflow":   {"99999999999999999999", 10 * time.Second},
		"negative":   {"-5", 10 * time.Second},
		"past":       {"Fri, 01 Jan 1999 00:00:00 GMT", 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) { backsOff(t, said.retryAfter, said.want) })
		})
	}
}

func backsOff(t *testing.T, retryAfter string, want time.Duration) {
	t.Helper()
	asked := 0
	c := inMemory(t, patient(), func(w http.ResponseWriter, _ *http.Request) {
		asked++
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(http.StatusTooManyRequests)
	})
	ask := func() *fault.Error {
		_, err := c.Manifest(t.Context(), "a/b", latest)
		e := wantOutage(t, err)
		if f := e.Fault(); !e.RateLimited || f.Kind != fault.TooMany {
			t.Fatalf("%+v", f)
		}
		_, err = c.Blob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, nil), -1)
		wantOutage(t, err)
		return e.Fault()
	}
	for range 50 {
		if f := ask(); f.RetryAfter != want {
			t.Fatalf("%+v", f)
		}
	}
	<-time.After(want - 1)
	if ask(); asked != 2 { // for the manifest, and for the blob (T5)
		t.Errorf("asked %d times", asked)
	}
	if s := c.Status(); s.State != "closed" || s.Failure == "" {
		t.Errorf("%+v", s)
	}
}

func TestR38_AsksAgainAfterwards(t *testing.T) {
	asked := 0
	l := patient()
	l.backOff = 30 * time.Millisecond
	c := serve(t, l, func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 1 {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		sendImage(w, r)
	})
	await.True(t, 30*time.Second, "it is asked again", func() bool {
		_, err := c.Manifest(t.Context(), "a/b", latest)
		return err == nil
	})
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

// TestE14_Pace: more than the pace waits, and more than it would wait for is told
// so at once.
func TestE14_Pace(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		l := patient()
		l.rate, l.burst, l.patience = 20, 5, 200*time.Millisecond
		c := inMemory(t, l, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			sendImage(w, r)
		})
		var all sync.WaitGroup
		var limited atomic.Int64
		start := time.Now()
		for range 60 {
			all.Go(func() {
				if _, err := c.Manifest(t.Context(), "a/b", latest); err != nil {
					if f := fault.From(err); f.Kind != fault.TooMany || f.RetryAfter <= 0 || time.Since(start) > 0 {
						t.Errorf("%v after %v", err, time.Since(start))
					}
					limited.Add(1)
				}
			})
		}
		all.Wait()
		if n := asked.Load(); n != 5+4 || n+limited.Load() != 60 || time.Since(start) != l.patience {
			t.Errorf("asked %d times, limited %d, after %v", n, limited.Load(), time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Manifest(ctx, "a/b", latest); err == nil {
			t.Error("no caller waits, and it is asked")
		}
	})
}

// TestE14_PlacesAreBounded: documents and blobs each have their own, and waiting
// for one ends with the caller.
func TestE14_PlacesAreBounded(t *testing.T) {
	var now, most atomic.Int64
	end := make(chan struct{})
	l := patient()
	l.documents, l.blobs, l.answer = 4, 2, 20*time.Second
	c := serve(t, l, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			return
		}
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-end
		sendImage(w, r)
	})
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if _, err := c.Manifest(t.Context(), "a/b", latest); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			b, err := c.Blob(t.Context(), "a/b", oci.DigestOf(oci.SHA256, nil), -1)
			if err != nil {
				t.Error(err)
				return
			}
			_ = b.Close()
		})
	}
	await.True(t, 30*time.Second, "six have their places", func() bool { return now.Load() >= 6 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.HasBlob(ctx, "a/b", oci.DigestOf(oci.SHA256, nil)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who waits for a place no longer than that: %v", err)
	}
	close(end)
	all.Wait()
	if most.Load() != 6 {
		t.Errorf("%d at a time", most.Load())
	}
}

// TestE13_FewLargeDocumentsAtATime are in memory, however many are asked for, and
// they are in no one's way.
func TestE13_FewLargeDocumentsAtATime(t *testing.T) {
	l := patient()
	l.largeOfOne, l.large = 2, 3
	cs := newClients(Options{Allow: loopback}, l)
	size := map[string]int{"small": largeDocument, "large": largeDocument + 1}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(make([]byte, size[path.Base(r.URL.Path)]))
	}))
	t.Cleanup(s.Close)
	var all sync.WaitGroup
	var now, most, small atomic.Int64
	var ofFirst, mostOfFirst atomic.Int64
	end := make(chan struct{})
	get := func(c *Client, kind string, use func(answer) error) {
		all.Go(func() {
			rq := request{method: http.MethodGet, name: "a/b", path: kind, limit: oci.MaxManifest}
			if err := c.document(t.Context(), rq, use); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 3 { // two of them of one tenant
		c, err := cs.Client(Config{Key: strconv.Itoa(i), Tenant: strconv.Itoa(i % 2), Upstream: "up", Target: Target{URL: s.URL}})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			get(c, "large", func(a answer) error {
				n := now.Add(1)
				defer now.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				if i%2 == 0 {
					mostOfFirst.Store(max(mostOfFirst.Load(), ofFirst.Add(1)))
					defer ofFirst.Add(-1)
				}
				<-end
				if len(a.body) != size["large"] {
					t.Errorf("%d bytes", len(a.body))
				}
				return nil
			})
			get(c, "small", func(answer) error {
				small.Add(1)
				return nil
			})
		}
	}
	await.True(t, 30*time.Second, "all small documents came, and three large ones are in flight", func() bool { return small.Load() >= 15 && now.Load() >= 3 })
	close(end)
	all.Wait()
	if most.Load() != 3 || mostOfFirst.Load() > 2 {
		t.Errorf("%d large documents at a time, %d of one tenant", most.Load(), mostOfFirst.Load())
	}
}

// TestE14_QueueIsBounded: those who wait keep doing so when their clients left.
func TestE14_QueueIsBounded(t *testing.T) {
	end := make(chan struct{})
	l := patient()
	l.documents, l.queue, l.answer = 1, 3, 20*time.Second
	c := serve(t, l, func(w http.ResponseWriter, r *http.Request) {
		<-end
		sendImage(w, r)
	})
	var all sync.WaitGroup
	for range l.documents + l.queue {
		all.Go(func() {
			if _, err := c.Manifest(t.Context(), "a/b", latest); err != nil {
				t.Error(err)
			}
		})
	}
	await.True(t, 30*time.Second, "the queue is full", func() bool { return c.queued.Load() >= int64(l.queue) })
	_, err := c.Manifest(t.Context(), "a/b", latest)
	if f := fault.From(wantOutage(t, err)); f.Kind != fault.TooMany || f.RetryAfter <= 0 {
		t.Error(f)
	}
	close(end)
	all.Wait()
	if _, err := c.Manifest(t.Context(), "a/b", latest); err != nil || c.queued.Load() != 0 {
		t.Errorf("afterwards: %v, %d wait", err, c.queued.Load())
	}
}

func TestStatus_RateLimit(t *testing.T) {
	reg := prometheus.NewRegistry()
	cs := New(Options{Allow: loopback, Metrics: reg})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	status := http.StatusOK
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		w.Header().Set("RateLimit-Limit", "100;w=21600")
		w.Header().Set("RateLimit-Remaining", "76;w=21600")
		if status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
		sendImage(w, r)
	}), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	c := clientOf(t, cs, Config{Target: Target{URL: "http://" + l.Addr().String()}})
	if s := c.Status(); s != (Status{State: "closed"}) {
		t.Errorf("before the first request: %+v", s)
	}
	healths := []Health{Healthy, Healthy, AccessDenied, Failing, RateLimitReached}
	for i, code := range []int{200, 404, 403, 500, 429} {
		status = code
		_, _ = c.Manifest(t.Context(), "a/b", latest)
		if got := c.Status().Health; got != healths[i] {
			t.Errorf("after %d: %q, want %q", code, got, healths[i])
		}
	}
	limit := c.Status().RateLimit
	if left := time.Until(limit.Reset); left < 5*time.Hour || left > 6*time.Hour {
		t.Errorf("resets in %v", left)
	}
	reset := limit.Reset
	if limit.Reset = (time.Time{}); limit != (RateLimit{Limit: 100, Remaining: 76, Window: 6 * time.Hour}) {
		t.Errorf("%+v", limit)
	}
	got := gather(t, reg)
	for series, want := range map[string]float64{
		"berth_upstream_requests_total found": 1, "berth_upstream_requests_total not_here": 1, "berth_upstream_requests_total denied": 1,
		"berth_upstream_requests_total outage": 1, "berth_upstream_requests_total rate_limited": 1,
		"berth_upstream_request_seconds": 5, "berth_upstream_ratelimit_remaining": 76,
		"berth_upstream_ratelimit_limit": 100, "berth_upstream_ratelimit_reset_timestamp_seconds": float64(reset.Unix()), "berth_upstream_breaker_state": 0,
	} {
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s is %v", series, v)
		}
	}
}

// TestStatus_SeriesAreBounded: tenants make and delete upstreams as they like.
func TestStatus_SeriesAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	cs := New(Options{Metrics: reg})
	for i := range mostClients + 10 {
		slug := fmt.Sprintf("u%d", i)
		c, err := cs.Client(Config{Key: slug, Tenant: "acme", Upstream: slug, Target: Target{URL: "https://registry.example"}})
		if err != nil {
			t.Fatal(err)
		}
		c.series.observe(nil, time.Second)
		c.series.rateLimit(RateLimit{Limit: 2, Remaining: 1})
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if n := len(f.GetMetric()); n != mostClients {
			t.Errorf("%s has %d series, want %d", f.GetName(), n, mostClients)
		}
	}
}

// gather reads the series of one upstream, by name and outcome; a histogram's
// value is its count.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				switch l.GetName() + "=" + l.GetValue() {
				case "tenant=acme", "upstream=up":
				default:
					name += " " + l.GetValue()
				}
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}
