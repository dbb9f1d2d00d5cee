package upstream

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// TestT61_RateLimitForms reads the limits in the forms that registries send.
func TestT61_RateLimitForms(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	in := func(seconds int64) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	for name, c := range map[string]struct {
		header http.Header
		want   RateLimit // zero: none
	}{
		"Docker Hub":         {http.Header{"Ratelimit-Limit": {"100;w=21600"}, "Ratelimit-Remaining": {"76;w=21600"}}, RateLimit{100, 76, 6 * time.Hour, in(21600)}},
		"Docker Hub, all":    {http.Header{"Ratelimit-Limit": {"200;w=21600"}, "Ratelimit-Remaining": {"0;w=21600"}, "Docker-Ratelimit-Source": {"192.0.2.1"}}, RateLimit{200, 0, 6 * time.Hour, in(21600)}},
		"GitLab":             {http.Header{"Ratelimit-Limit": {"2000"}, "Ratelimit-Remaining": {"1999"}, "Ratelimit-Reset": {"1800000060"}}, RateLimit{2000, 1999, 0, in(60)}},
		"draft 06":           {http.Header{"Ratelimit-Limit": {"10"}, "Ratelimit-Policy": {"10;w=1, 50;w=60"}, "Ratelimit-Remaining": {"9"}, "Ratelimit-Reset": {"1"}}, RateLimit{10, 9, time.Second, in(1)}},
		"draft 03":           {http.Header{"Ratelimit-Limit": {"100, 100;w=10, 1000;w=60"}, "Ratelimit-Remaining": {"50"}, "Ratelimit-Reset": {"5"}}, RateLimit{100, 50, 0, in(5)}},
		"draft 07":           {http.Header{"Ratelimit": {"limit=100, remaining=50, reset=5"}, "Ratelimit-Policy": {"100;w=10"}}, RateLimit{100, 50, 10 * time.Second, in(5)}},
		"draft 08":           {http.Header{"Ratelimit": {`"default";r=50;t=30`}, "Ratelimit-Policy": {`"default";q=100;w=60`}}, RateLimit{100, 50, time.Minute, in(30)}},
		"draft 08, the less": {http.Header{"Ratelimit": {`"burst";r=90;t=3`, `"daily";r=5`}, "Ratelimit-Policy": {`"burst";q=100;w=60,"daily";q=1000;w=86400`}}, RateLimit{1000, 5, 24 * time.Hour, in(86400)}},
		"draft 08, of bytes": {http.Header{"Ratelimit": {`"bytes";r=1`, `"requests";r=50`}, "Ratelimit-Policy": {`"bytes";q=1000;qu="content-bytes","requests";q=100;qu="requests"`}}, RateLimit{100, 50, 0, time.Time{}}},
		"a token as name":    {http.Header{"Ratelimit": {`default;r=50;t=30`}, "Ratelimit-Policy": {`default;q=100;w=60`}}, RateLimit{100, 50, time.Minute, in(30)}},
		"X-RateLimit":        {http.Header{"X-Ratelimit-Limit": {"60"}, "X-Ratelimit-Remaining": {"59"}, "X-Ratelimit-Reset": {"1800003600"}}, RateLimit{60, 59, 0, in(3600)}},
		"X-RateLimit, delta": {http.Header{"X-Ratelimit-Limit": {"60"}, "X-Ratelimit-Remaining": {"59"}, "X-Ratelimit-Reset": {"30"}}, RateLimit{60, 59, 0, in(30)}},
		"X-Rate-Limit":       {http.Header{"X-Rate-Limit-Limit": {"60"}, "X-Rate-Limit-Remaining": {"0"}}, RateLimit{60, 0, 0, time.Time{}}},
		"more than all":      {http.Header{"Ratelimit-Limit": {"100;w=60"}, "Ratelimit-Remaining": {"150"}}, RateLimit{100, 100, time.Minute, in(60)}},
		"for years":          {http.Header{"Ratelimit-Limit": {"100"}, "Ratelimit-Remaining": {"0"}, "Ratelimit-Reset": {"9999999999"}}, RateLimit{100, 0, 0, now.Add(longestWindow)}},
		"in the past":        {http.Header{"Ratelimit-Limit": {"100"}, "Ratelimit-Remaining": {"0"}, "Ratelimit-Reset": {"1000000001"}}, RateLimit{100, 0, 0, now}},
		"none":               {http.Header{}, RateLimit{}},
		"no limit":           {http.Header{"Ratelimit-Remaining": {"5"}}, RateLimit{}},
		"nothing left said":  {http.Header{"Ratelimit-Limit": {"100;w=60"}}, RateLimit{}},
		"a limit of 0":       {http.Header{"Ratelimit-Limit": {"0"}, "Ratelimit-Remaining": {"0"}}, RateLimit{}},
		"less than nothing":  {http.Header{"Ratelimit-Limit": {"100"}, "Ratelimit-Remaining": {"-1"}}, RateLimit{}},
		"words":              {http.Header{"Ratelimit-Limit": {"many"}, "Ratelimit-Remaining": {"few"}}, RateLimit{}},
		"no policy":          {http.Header{"Ratelimit": {`"default";r=50`}}, RateLimit{}},
		"policies alone":     {http.Header{"Ratelimit-Policy": {`"default";q=100;w=60`}}, RateLimit{}},
	} {
		got, ok := readRateLimit(c.header, now)
		if got != c.want || ok != (c.want != RateLimit{}) {
			t.Errorf("%s: %+v, %t, want %+v", name, got, ok, c.want)
		}
	}
}

// limitedHub limits manifests as Docker Hub does.
type limitedHub struct {
	url        string
	left       atomic.Int64
	costly     bool // a HEAD costs as much as a GET
	gets, head atomic.Int64
}

func startHub(t *testing.T, limit int64) *limitedHub {
	t.Helper()
	h := &limitedHub{}
	h.left.Store(limit)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		left := h.left.Load()
		if r.Method == http.MethodHead {
			h.head.Add(1)
		} else {
			h.gets.Add(1)
		}
		if r.Method != http.MethodHead || h.costly {
			left = h.left.Add(-1)
		}
		w.Header().Set("RateLimit-Limit", fmt.Sprintf("%d;w=21600", limit))
		w.Header().Set("RateLimit-Remaining", fmt.Sprintf("%d;w=21600", max(left, 0)))
		if left < 0 {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		sendImage(w, r)
	}))
	t.Cleanup(s.Close)
	h.url = s.URL
	return h
}

// of is the tenant's client, without a credential unless user is set.
func (h *limitedHub) of(t *testing.T, cs *Clients, tenant, user, password string) *Client {
	t.Helper()
	c, err := cs.Client(Config{Key: tenant + "/hub", Tenant: tenant, Upstream: "hub", Target: Target{URL: h.url, Username: user, Password: password}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pulls is how many of n GETs the upstream was asked for.
func (h *limitedHub) pulls(t *testing.T, c *Client, n int) int64 {
	t.Helper()
	before := h.gets.Load()
	for range n {
		_, err := c.Manifest(t.Context(), "a/b", latest)
		if err != nil && fault.KindOf(err) != fault.TooMany {
			t.Fatal(err)
		}
	}
	return h.gets.Load() - before
}

// TestT61_TenantsShareABudget: a tenant that pulls everything leaves the others their
// share of what one address is allowed; what one account is allowed is its own.
func TestT61_TenantsShareABudget(t *testing.T) {
	h := startHub(t, 100)
	cs := newClients(Options{Allow: loopback}, patient())
	greedy, modest := h.of(t, cs, "greedy", "", ""), h.of(t, cs, "modest", "", "")
	if n := h.pulls(t, modest, 1); n != 1 {
		t.Fatalf("%d requests", n)
	}
	if n := h.pulls(t, greedy, 200); n != 75 {
		t.Errorf("one tenant took %d of 99", n)
	}
	_, err := greedy.Manifest(t.Context(), "a/b", latest)
	if f := fault.From(err); f == nil || f.Kind != fault.TooMany || f.RetryAfter <= 0 {
		t.Errorf("%v", err)
	}
	if got := modest.Status().RateLimit; got.Remaining != 24 || got != greedy.Status().RateLimit {
		t.Errorf("%+v and %+v", got, greedy.Status().RateLimit)
	}
	if n := h.pulls(t, modest, 24); n != 24 || h.left.Load() != 0 {
		t.Errorf("the other had %d of the rest, %d are left", n, h.left.Load())
	}
	if greedy.Status().Health == RateLimitReached {
		t.Error("a share that was used up is taken for a refusal of the upstream")
	}
}

// TestT61_AloneATenantUsesAll: nothing is kept for tenants that do not pull.
func TestT61_AloneATenantUsesAll(t *testing.T) {
	h := startHub(t, 20)
	cs := newClients(Options{Allow: loopback}, patient())
	h.of(t, cs, "idle", "", "")
	if n := h.pulls(t, h.of(t, cs, "alone", "", ""), 20); n != 20 || h.left.Load() != 0 {
		t.Errorf("%d requests, %d left", n, h.left.Load())
	}
}

// TestT61_BudgetsAreOfAccounts: a credential has its own, and it takes the password to
// share in it.
func TestT61_BudgetsAreOfAccounts(t *testing.T) {
	h := startHub(t, 100)
	cs := newClients(Options{Allow: loopback}, patient())
	anonymous, bob := h.of(t, cs, "a", "", ""), h.of(t, cs, "b", "bob", "secret")
	sameBob, fakeBob := h.of(t, cs, "c", "bob", "secret"), h.of(t, cs, "d", "bob", "guess")
	if bob.budget == anonymous.budget || bob.budget != sameBob.budget || bob.budget == fakeBob.budget {
		t.Error("budgets are not of accounts")
	}
	cs.proxies = []Proxy{{Name: "out"}, {Name: "out", Tenant: "b"}}
	through := func(tenant, proxy string) *budget {
		c, err := cs.Client(Config{Key: tenant + proxy, Tenant: tenant, Upstream: "hub", Target: Target{URL: h.url}, Proxy: proxy})
		if err != nil {
			t.Fatal(err)
		}
		return c.budget
	}
	if a, b, c := through("a", "out"), through("b", "out"), through("c", "out"); a != c || a == b || a == anonymous.budget {
		t.Error("budgets are not of the addresses that the registry sees")
	}
	other := startHub(t, 100)
	if other.of(t, cs, "e", "", "").budget == anonymous.budget {
		t.Error("two registries share a budget")
	}
}

// TestT61_HeadsAreFreeIsLearned: whether a HEAD costs shows in what is left after it.
func TestT61_HeadsAreFreeIsLearned(t *testing.T) {
	for _, costly := range []bool{false, true} {
		h := startHub(t, 100)
		h.costly = costly
		c := h.of(t, newClients(Options{Allow: loopback}, patient()), "acme", "", "")
		h.pulls(t, c, 1)
		if c.HeadFirst() {
			t.Error("free before the first HEAD")
		}
		for range 3 {
			if _, err := c.HeadManifest(t.Context(), "a/b", "latest"); err != nil {
				t.Fatal(err)
			}
		}
		if c.HeadFirst() == costly {
			t.Errorf("costly: %t, free: %t", costly, c.HeadFirst())
		}
	}
}

// TestT61_TagStretch follows the budget down and over its end.
func TestT61_TagStretch(t *testing.T) {
	b := &budget{kinds: map[string]*allowance{}}
	c := &Client{budget: b}
	for _, s := range []struct {
		limit, left int64
		reset       time.Duration
		want        int
	}{
		{100, 100, time.Hour, 1},
		{100, 25, time.Hour, 1},
		{100, 24, time.Hour, 2},
		{100, 5, time.Hour, 6},
		{100, 1, time.Hour, 16},
		{100, 0, time.Hour, 16},
		{3, 1, time.Hour, 1},
		{3, 0, time.Hour, 16},
		{100, 0, -time.Second, 1},
		{mostRequests, 1, time.Hour, 16},
	} {
		now := time.Now()
		b.saw(kindManifests, http.MethodGet, RateLimit{Limit: s.limit, Remaining: s.left, Reset: now.Add(s.reset)}, now)
		if got := c.TagStretch(); got != s.want {
			t.Errorf("%d of %d: %d, want %d", s.left, s.limit, got, s.want)
		}
	}
	b.saw("blobs", http.MethodGet, RateLimit{Limit: 100, Remaining: 0, Reset: time.Now().Add(time.Hour)}, time.Now())
	if got := c.TagStretch(); got != 16 {
		t.Errorf("%d", got)
	}
}

// TestT61_BudgetsAreBounded: however many tenants share one.
func TestT61_BudgetsAreBounded(t *testing.T) {
	b, now := &budget{kinds: map[string]*allowance{}}, time.Now()
	b.saw(kindManifests, http.MethodGet, RateLimit{Limit: 1 << 20, Remaining: 1 << 20, Window: time.Hour, Reset: now.Add(2 * time.Hour)}, now)
	for i := range 2 * mostSpenders {
		if !b.spend(kindManifests, http.MethodGet, fmt.Sprint("tenant-", i), now) {
			t.Fatal("refused with almost all left")
		}
	}
	if n := len(b.kinds[kindManifests].spent); n != mostSpenders {
		t.Errorf("%d tenants are remembered", n)
	}
	b.spend(kindManifests, http.MethodGet, "later", now.Add(time.Hour))
	if n := len(b.kinds[kindManifests].spent); n != 1 {
		t.Errorf("%d tenants of before are remembered", n)
	}
}
