package admin

import (
	"context"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// answers are Chains of two members: prod does not have it, ghcr does. It keeps
// what it was asked.
type answers struct {
	name      string
	reference oci.Reference
	tenant    string
	registry  string
	upstream  meta.Upstream
	caller    chain.Caller
}

const answeredDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

var answeredAt = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

func (a *answers) Resolve(_ context.Context, _ tenant.ID, tenantSlug, registry, name string, ref oci.Reference, _ bool, caller chain.Caller) (chain.Trace, error) {
	a.tenant, a.registry, a.name, a.reference, a.caller = tenantSlug, registry, name, ref, caller
	return chain.Trace{
		Name: name, Reference: ref.String(), Winner: 2, Outcome: chain.Found,
		Answers: []chain.Answer{
			{Member: "registries/prod", Outcome: chain.NotHere},
			{Member: "upstreams/hub", Outcome: chain.Skipped, Detail: "its include does not have the name"},
			{Member: "upstreams/ghcr", Outcome: chain.Found, Digest: answeredDigest, Cached: true, Stale: true, CheckedAt: answeredAt},
		},
	}, nil
}

func (*answers) CheckAddress(context.Context, string, string, string) error { return nil }
func (*answers) CheckHelper(string, string, string) error                   { return nil }

func (a *answers) Refresh(_ context.Context, tenantSlug string, u meta.Upstream, name string, ref oci.Reference) (chain.Answer, error) {
	a.tenant, a.upstream, a.name, a.reference = tenantSlug, u, name, ref
	return chain.Answer{Member: "upstreams/" + u.Slug, Outcome: chain.Denied, Detail: "it refused"}, nil
}

func TestResolve(t *testing.T) {
	asked := &answers{}
	a := newAPI(t, func(c *Config, _ *Options) { c.Chains = asked })
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for reference, want := range map[string]string{
		"app:1":                            "app 1",
		"team/app":                         "team/app latest",
		"team/app@" + answeredDigest:       "team/app " + answeredDigest,
		"team/app:2.0@" + answeredDigest:   "team/app " + answeredDigest,
		"library/alpine%3a3.20":            "library/alpine 3.20",
		"library/alpine:under_score.dot-1": "library/alpine under_score.dot-1",
	} {
		a.call(200, "GET", "/v1/tenants/acme/registries/main:resolve?reference="+reference, "")
		if got := asked.name + " " + asked.reference.String(); got != want || asked.tenant != "acme" || asked.registry != "main" {
			t.Errorf("%s asks %s/%s for %s, want %s", reference, asked.tenant, asked.registry, got, want)
		}
	}
	got := a.call(200, "GET", "/v1/tenants/acme/registries/main:resolve?reference=app:1", "")
	all := got["answers"].([]any)
	if got["outcome"] != "FOUND" || got["repository"] != "app" || got["reference"] != "1" || len(all) != 3 {
		t.Fatalf("%v", got)
	}
	first, second, third := all[0].(map[string]any), all[1].(map[string]any), all[2].(map[string]any)
	if first["outcome"] != "NOT_HERE" || first["wins"] != false || first["check_time"] != nil {
		t.Errorf("%v", first)
	}
	if second["outcome"] != "SKIPPED" || second["detail"] != "its include does not have the name" {
		t.Errorf("%v", second)
	}
	if third["member"] != "upstreams/ghcr" || third["wins"] != true || third["digest"] != answeredDigest || third["cached"] != true ||
		third["stale"] != true || third["check_time"] != "2026-11-21T10:00:00Z" {
		t.Errorf("%v", third)
	}
	for _, bad := range []string{"", ":1", "app:", "app@", "app@sha256:00", "UPPER:1", "app:1:2", "../x:1", "app:1@2@" + answeredDigest} {
		a.call(400, "GET", "/v1/tenants/acme/registries/main:resolve?reference="+bad, "")
	}
	private := chain.Registry{Slug: "main"}
	public := private
	public.AnonymousPull = true
	if a := asked.caller(private); !a.Has(access.Pull) {
		t.Errorf("a caller who is logged in may %v", a)
	}
	a.call(200, "GET", "/v1/tenants/acme/registries/main:resolve?reference=app:1&anonymous=true", "")
	if asked.caller(private) != 0 || !asked.caller(public).Has(access.Pull) {
		t.Errorf("one who is not may %v, and %v where everybody may", asked.caller(private), asked.caller(public))
	}
	a.call(404, "GET", "/v1/tenants/acme/registries/none:resolve?reference=app:1", "")
}

func TestRefresh(t *testing.T) {
	asked := &answers{}
	a := newAPI(t, func(c *Config, _ *Options) { c.Chains = asked })
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/upstreams?upstream_id=ghcr", `{"url": "https://ghcr.io"}`)
	const path = "/v1/tenants/acme/upstreams/ghcr:refresh"
	got := a.call(200, "POST", path, `{"repository": "team/app", "reference": "1"}`)
	if got["outcome"] != "DENIED" || got["detail"] != "it refused" || got["member"] != "upstreams/ghcr" {
		t.Errorf("%v", got)
	}
	if asked.tenant != "acme" || asked.upstream.Slug != "ghcr" || asked.name != "team/app" || asked.reference.Tag != "1" {
		t.Errorf("asked %+v", asked)
	}
	for _, bad := range []string{"", "{}", `{"repository": "app"}`, `{"reference": "1"}`, `{"repository": "UPPER", "reference": "1"}`, `{"repository": "app", "reference": "a b"}`} {
		a.call(400, "POST", path, bad)
	}
	a.call(404, "POST", "/v1/tenants/acme/upstreams/none:refresh", `{"repository": "app", "reference": "1"}`)
}
