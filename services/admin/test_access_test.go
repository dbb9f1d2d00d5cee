package admin

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// newRightsAPI has the tenant acme: dev with a chain over prod and an upstream, and accounts.
func newRightsAPI(t *testing.T, change ...func(*Config, *Options)) *api {
	t.Helper()
	a := newAPI(t, change...)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for _, id := range []string{"dev", "prod", "base"} {
		a.call(200, "POST", "/v1/tenants/acme/registries?registry_id="+id, "")
	}
	a.call(200, "POST", "/v1/tenants/acme/upstreams?upstream_id=hub", `{"url": "https://registry.example", "host_aliases": ["hub.example"]}`)
	a.call(200, "POST", "/v1/tenants/acme/upstreamGroups?upstream_group_id=below", `{"members": [{"registry": "base"}, {"upstream": "hub"}]}`)
	a.call(200, "POST", "/v1/tenants/acme/upstreamGroups?upstream_group_id=chain", `{"members": [{"registry": "prod"}, {"upstream": "hub"}]}`)
	a.call(200, "PATCH", "/v1/tenants/acme/registries/prod", `{"upstream_group": "below"}`)
	a.call(200, "PATCH", "/v1/tenants/acme/registries/dev", `{"upstream_group": "chain"}`)
	a.call(200, "POST", ofUsers+"?user_id=alice", `{"role": "MEMBER"}`)
	a.call(200, "POST", ofUsers+"?user_id=bob", `{"role": "WRITER"}`)
	a.call(200, "POST", "/v1/tenants/acme/serviceAccounts?service_account_id=ci", `{"role": "MEMBER"}`)
	a.call(200, "POST", "/v1/tenants/acme/groups?group_id=team", `{"members": ["users/alice", "serviceAccounts/ci"]}`)
	return a
}

// testAccess asks, and returns the answer.
func (a *api) testAccess(req *pb.TestAccessRequest) *pb.TestAccessResponse {
	a.t.Helper()
	req.Name = "tenants/acme"
	m, err := a.service.TestAccess(withCaller(a.t.Context(), caller{operator: true}), req)
	if err != nil {
		a.t.Fatalf("%v: %v", req, err)
	}
	return m
}

// TestU93_TestAccessIsTheDecision compares it, for random rules, groups and settings, with what
// decides about requests: the rights at the host, and the walk through its chain.
func TestU93_TestAccessIsTheDecision(t *testing.T) {
	a := newRightsAPI(t)
	r := rand.New(rand.NewPCG(dice.Seed(t), 0))
	acme, err := a.store.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	policies := access.NewPolicies(meta.PolicyLoader{Store: a.store})
	choose := func(from ...string) string { return from[r.IntN(len(from))] }
	const rounds, questions = 40, 25
	for range rounds {
		a.randomRights(r)
		for range questions {
			req := &pb.TestAccessRequest{
				Principal: choose("users/alice", "users/bob", "serviceAccounts/ci", "anonymous"), Address: choose("", "192.0.2.9", "198.51.100.1"),
				Host: choose("dev", "prod", "base") + ".acme.localhost", Reference: choose("a", "a/b", "b/c/d", "proxy/hub.example/a") + choose("", ":1"),
			}
			slug, _, _ := strings.Cut(req.GetHost(), ".")
			site, err := a.store.FindSite(t.Context(), tenant.Lookup{Host: req.GetHost(), TenantSlug: "acme", Registry: slug})
			if err != nil {
				t.Fatal(err)
			}
			who := access.Principal{}
			if kind, slug, ok := access.AccountOf(req.GetPrincipal()); ok {
				account, err := a.store.FindAccount(t.Context(), acme.ID, kind, slug)
				if err != nil {
					t.Fatal(err)
				}
				who = account.Principal()
			}
			from, _ := netip.ParseAddr(req.GetAddress()) // invalid where it is not known
			rights, err := policies.Rights(t.Context(), &site, who, from)
			if err != nil {
				t.Fatal(err)
			}
			got := a.testAccess(req)
			name, _, _ := strings.Cut(req.GetReference(), ":")
			want := rights.Allowed(name)
			for _, v := range got.GetVerdicts() {
				a.checkVerdict(v, want, name)
			}
			if got, want := asked(got), a.walked(&rights, site, name); got != want {
				t.Fatalf("%v: would ask %q, asked %q", req, got, want)
			}
		}
	}
}

// checkVerdict holds the verdict about a content action against the decision.
func (a *api) checkVerdict(v *pb.TestAccessResponse_Verdict, want access.Actions, name string) {
	a.t.Helper()
	if v.GetAction() == pb.AccessRule_ADMIN {
		return
	}
	action, err := ruleActions(&pb.AccessRule{Actions: []pb.AccessRule_Action{v.GetAction()}})
	if err != nil {
		a.t.Fatal(err)
	}
	allowed := want.Has(action)
	if strings.HasPrefix(name, "proxy/") {
		allowed = allowed && action&(access.Pull|access.Fill) != 0
	}
	if v.GetAllowed() != allowed || allowed && len(v.GetReasons()) == 0 || len(v.GetNearMisses()) > maxNearMisses || len(v.GetReasons()) > maxReasons {
		a.t.Fatalf("%s in %q: %v, decided is %v", v.GetAction(), name, v, want)
	}
}

// asked are the members that a test says would be asked.
func asked(m *pb.TestAccessResponse) string {
	var names []string
	for _, one := range m.GetMembers() {
		if one.GetAsked() {
			names = append(names, one.GetMember())
		}
	}
	return strings.Join(names, " ")
}

// walked are the members that a pull of a name that no member has asks.
func (a *api) walked(rights *access.Rights, site tenant.Site, name string) string {
	a.t.Helper()
	if !rights.Allowed(name).Has(access.Pull) {
		return ""
	}
	topology, err := a.store.FindTopology(a.t.Context(), site.Tenant)
	if err != nil {
		a.t.Fatal(err)
	}
	registry, caller := site.RegistrySlug, chain.CallerOf(rights, name)
	w := chain.Walk{Name: name, Anonymous: rights.Principal.Anonymous(), Caller: caller, Claimed: func() (bool, error) { return false, nil }}
	if w.Chain, err = chain.Of(topology, registry); err != nil {
		a.t.Fatal(err)
	}
	if rest, direct := strings.CutPrefix(name, "proxy/hub.example/"); direct {
		reach, err := chain.Reach(topology, registry, caller)
		if err != nil {
			a.t.Fatal(err)
		}
		u, ok := chain.ByHost(reach, "hub.example")
		if !ok {
			return ""
		}
		w.Name, w.Direct, w.Members = rest, true, []chain.Member{chain.SingleUpstream(&u)}
	}
	var names []string
	_ = w.Find(func(m *chain.Member, _ string) error {
		names = append(names, m.Name)
		return chain.ErrNotHere
	})
	return strings.Join(names, " ")
}
