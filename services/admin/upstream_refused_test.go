package admin

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
)

// guarded are chains whose upstreams may be in the networks that it allows.
type guarded struct {
	silent
	allow []upstream.Network
}

func (g *guarded) CheckAddress(ctx context.Context, tenantSlug, proxy, url string) error {
	return upstream.New(upstream.Options{Allow: g.allow}).CheckAddress(ctx, tenantSlug, proxy, url)
}

// TestN1_RefusedAddressesAreToldAtCreation, and at the update that brings one; an
// upstream that configuration refuses since can be changed in all else.
func TestN1_RefusedAddressesAreToldAtCreation(t *testing.T) {
	chains := &guarded{}
	a := newAPI(t, func(c *Config, _ *Options) { c.Chains = chains })
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	create := func(want int, url string) string {
		t.Helper()
		resp, text := a.send(operatorToken, "POST", upstreams+"?upstream_id=inside&validate_only=true", `{"url": "`+url+`"}`)
		if resp.StatusCode != want {
			t.Errorf("%s: %d %s", url, resp.StatusCode, text)
		}
		return string(text)
	}
	for _, url := range []string{"http://127.0.0.1:5000", "https://10.0.0.1:2375", "https://localhost:5000", "http://93.184.216.34"} {
		if text := create(400, url); !strings.Contains(text, "upstream_allow") || !strings.Contains(text, "url") {
			t.Errorf("%s: %s", url, text)
		}
	}
	a.call(200, "POST", upstreams+"?upstream_id=outside", `{"url": "https://93.184.216.34"}`)
	a.call(400, "PATCH", upstreams+"/outside", `{"url": "https://10.0.0.1"}`)

	chains.allow = []upstream.Network{{Prefix: netip.MustParsePrefix("10.0.0.0/8")}}
	a.call(200, "PATCH", upstreams+"/outside", `{"url": "https://10.0.0.1"}`)
	chains.allow = nil
	a.call(200, "PATCH", upstreams+"/outside", `{"url": "https://10.0.0.1", "tag_ttl": "60s"}`)
}

// TestN3_StateIsAWord, also for what was kept as the state of a circuit breaker.
func TestN3_StateIsAWord(t *testing.T) {
	a := withChain(t)
	u := a.upstream("acme", "ghcr")
	now := time.Now()
	for _, c := range []struct {
		status meta.UpstreamStatus
		want   string
	}{
		{meta.UpstreamStatus{}, "NEVER_ASKED"},
		{meta.UpstreamStatus{State: "OK", SucceededAt: now}, "OK"},
		{meta.UpstreamStatus{State: string(upstream.Unreachable), FailedAt: now}, "UNREACHABLE"},
		{meta.UpstreamStatus{State: string(upstream.Failing), FailedAt: now}, "FAILING"},
		{meta.UpstreamStatus{State: string(upstream.RefusedByConfiguration), FailedAt: now}, "REFUSED_BY_CONFIGURATION"},
		{meta.UpstreamStatus{State: string(upstream.AccessDenied), FailedAt: now}, "DENIED"},
		{meta.UpstreamStatus{State: string(upstream.RateLimitReached), FailedAt: now}, "RATE_LIMITED"},
		{meta.UpstreamStatus{State: "closed", SucceededAt: now, FailedAt: now.Add(-time.Hour)}, "OK"},
		{meta.UpstreamStatus{State: "open", SucceededAt: now.Add(-time.Hour), FailedAt: now}, "FAILING"},
	} {
		if err := a.store.RecordStatus(t.Context(), u.Tenant, u.ID, c.status); err != nil {
			t.Fatal(err)
		}
		if got := a.call(200, "GET", upstreams+"/ghcr", "")["status"].(map[string]any)["state"]; got != c.want {
			t.Errorf("%+v is %v, want %s", c.status, got, c.want)
		}
	}
}

// TestN6_DenialsOfTheAdminAPI say who may not do what.
func TestN6_DenialsOfTheAdminAPI(t *testing.T) {
	a := newAPI(t)
	for _, slug := range []string{"acme", "other"} {
		a.call(200, "POST", "/v1/tenants?tenant_id="+slug, "")
	}
	writer, admin := a.account("acme", "ci", "WRITER"), a.account("acme", "boss", "ADMIN")
	for _, c := range [][3]string{
		{writer, "/v1/tenants/acme", `account "ci" has role WRITER; this needs role ADMIN or AUDITOR`},
		{admin, "/v1/tenants", `only operators may do this; account "boss" has role ADMIN in its tenant`},
		{admin, "/v1/tenants/other", `account "boss" may manage only its own tenant`},
		{admin, "/v1/tenants/none", `account "boss" may manage only its own tenant`},
	} {
		if got := a.callAs(c[0], 403, "GET", c[1], "")["message"]; got != c[2] {
			t.Errorf("%s: %v", c[1], got)
		}
	}
}
