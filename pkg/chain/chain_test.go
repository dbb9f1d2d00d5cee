package chain_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// acme has dev → prod → ghcr.io.
func acme() meta.Topology {
	return meta.Topology{
		Registries: map[string]meta.TopologyRegistry{
			"main": {ID: 1}, "dev": {ID: 2, Group: "below-dev"}, "prod": {ID: 3, Group: "outside"},
		},
		Groups: map[string][]meta.Member{
			"below-dev": {{Registry: "prod", Exclude: []string{"secret/**"}, OnOutage: meta.Continue}},
			"outside":   {{Upstream: "ghcr", Include: []string{"team-*/**"}}, {Upstream: "hub", OnDenied: meta.Continue}},
		},
		Upstreams: map[string]meta.Upstream{
			"ghcr": {Slug: "ghcr", Settings: meta.UpstreamSettings{UpstreamTarget: meta.UpstreamTarget{URL: "https://ghcr.io"}, HostAliases: []string{"GitHub", "mirror.example:5000"}}},
			"hub":  {Slug: "hub", Settings: meta.UpstreamSettings{UpstreamTarget: meta.UpstreamTarget{URL: "https://registry-1.docker.io", Username: "acme"}, AllowClaimed: []string{"library/*"}}},
		},
	}
}

func TestOf_FollowsGroupsOfGroups(t *testing.T) {
	c, err := chain.Of(acme(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	if got := names(c.Members); got != "registries/prod(upstreams/ghcr upstreams/hub)" {
		t.Errorf("the chain of dev is %s", got)
	}
	if got := fmt.Sprint(c.Registries); got != "[2 3]" {
		t.Errorf("names are claimed by registries %s", got)
	}
	prod := &c.Members[0]
	if prod.Takes("secret/a/b") || !prod.Takes("app") || !prod.ContinuesOnOutage() || prod.ContinuesOnDenied(errDenied) {
		t.Errorf("prod does not go by its entry: %+v", prod)
	}
	ghcr, hub := &prod.Members[0], &prod.Members[1]
	if !ghcr.Takes("team-x/app") || ghcr.Takes("app") || !ghcr.ContinuesOnDenied(errDenied) || ghcr.ContinuesOnOutage() {
		t.Errorf("ghcr does not go by its entry")
	}
	if !hub.ContinuesOnDenied(afterLogin{errDenied}) {
		t.Error("hub stops although its entry says that it shall not")
	}
	if chain.AllowsClaimed(ghcr.Upstream, "library/a") || !chain.AllowsClaimed(hub.Upstream, "library/a") {
		t.Error("allow_claimed is not held against the name")
	}
}

func names(members []chain.Member) string {
	out := make([]string, len(members))
	for i, m := range members {
		if out[i] = m.Name; len(m.Members) > 0 {
			out[i] += "(" + names(m.Members) + ")"
		}
	}
	return strings.Join(out, " ")
}

func TestG4_UpstreamOf(t *testing.T) {
	c, err := chain.Of(acme(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct{ name, free, claimed string }{
		{"team-a/app", "ghcr", ""},
		{"library/app", "hub", "hub"},
		{"app", "hub", ""},
		{"secret/app", "", ""},
		{"team-a/" + strings.Repeat("a", 300), "", ""},
	} {
		for claimed, want := range map[bool]string{false: w.free, true: w.claimed} {
			u, ok := c.UpstreamOf(w.name, claimed)
			if ok != (want != "") || ok && u.Slug != want {
				t.Errorf("%.20s, claimed: %t: asked of %+v, want %q", w.name, claimed, u, want)
			}
		}
	}
}

// A credential that is refused must be looked into; a registry that refuses
// anyone may just not have it.
func TestMember_DeniedStopsWithCredential(t *testing.T) {
	tp := acme()
	tp.Groups["outside"] = []meta.Member{{Upstream: "ghcr"}, {Upstream: "hub"}}
	c, err := chain.Of(tp, "prod")
	if err != nil {
		t.Fatal(err)
	}
	if !c.Members[0].ContinuesOnDenied(errDenied) || c.Members[1].ContinuesOnDenied(errDenied) {
		t.Error("want ghcr, without a credential, to continue and hub to stop")
	}
}

func TestE12_CyclesAndFansAreRefused(t *testing.T) {
	cycle := acme()
	cycle.Groups["outside"] = append(cycle.Groups["outside"], meta.Member{Registry: "dev"})
	fan := acme()
	for i := range 12 {
		slug := fmt.Sprintf("fan-%d", i)
		fan.Registries[slug] = meta.TopologyRegistry{ID: tenant.RegistryID(100 + i), Group: fmt.Sprintf("fan-%d", i+1)}
		fan.Groups[slug] = []meta.Member{{Registry: slug}, {Registry: slug}}
	}
	fan.Groups["fan-12"] = nil
	gone := acme()
	gone.Groups["outside"] = []meta.Member{{Upstream: "nobody"}}
	for _, c := range []struct {
		topology       meta.Topology
		registry, want string
	}{
		{cycle, "dev", "dev → prod → dev"},
		{fan, "fan-0", "more than 64 members"},
		{gone, "dev", `no upstream "nobody"`},
		{acme(), "nobody", `no registry "nobody"`},
	} {
		_, err := chain.Of(c.topology, c.registry)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.From(err).Message, c.want) {
			t.Errorf("%v, want a refusal with %q", err, c.want)
		}
	}
}

func TestByHost(t *testing.T) {
	for host, want := range map[string]string{
		"docker.io": "hub", "index.docker.io": "hub", "Registry-1.Docker.io": "hub", "hub": "hub",
		"ghcr.io": "ghcr", "github": "ghcr", "mirror.example:5000": "ghcr", "ghcr": "ghcr",
		"mirror.example": "", "quay.io": "", "": "",
		"docker.io:443": "hub", "registry-1.docker.io.:443": "hub", "docker.io:80": "", "docker.io:5000": "",
	} {
		if u, ok := chain.ByHost(acme(), host); u.Slug != want || ok != (want != "") {
			t.Errorf("%q leads to %q, want %q", host, u.Slug, want)
		}
	}
}

// TestT60_NamesOfAnUpstream: ports that the scheme implies, and spellings of addresses,
// name the same upstream.
func TestT60_NamesOfAnUpstream(t *testing.T) {
	for _, c := range []struct {
		url, alias string
		named      []string
		not        []string
	}{
		{
			"https://registry-1.docker.io", "hub",
			[]string{"docker.io", "index.docker.io", "REGISTRY-1.docker.io", "docker.io:443", "docker.io.", "hub", "it"},
			[]string{"docker.io:80", "hub.docker.io", "", "docker"},
		},
		{"https://reg.example:443", "", []string{"reg.example", "reg.example:443"}, []string{"reg.example:80"}},
		{"http://reg.example", "", []string{"reg.example", "reg.example:80"}, []string{"reg.example:5000"}},
		{"http://reg.example:80", "", []string{"reg.example", "reg.example:80"}, nil},
		{"https://reg.example:5000", "reg.example", []string{"reg.example:5000", "reg.example"}, []string{"reg.example:5001"}},
		{"https://[2001:DB8:0::1]:5000", "", []string{"[2001:db8::1]:5000"}, []string{"[2001:db8::1]", "[2001:db8::2]:5000"}},
		{"https://mirror.example", "[0:0::1]:443", []string{"[::1]", "[::1]:443", "mirror.example"}, []string{"[::1]:5000"}},
		{"http://my_host:5000", "", []string{"my_host:5000", "MY_HOST:5000"}, []string{"my_host"}},
	} {
		u := meta.Upstream{Slug: "it", Settings: meta.UpstreamSettings{UpstreamTarget: meta.UpstreamTarget{URL: c.url}}}
		if c.alias != "" {
			u.Settings.HostAliases = []string{c.alias}
		}
		one := meta.Topology{Upstreams: map[string]meta.Upstream{"it": u}}
		for want, hosts := range map[bool][]string{true: c.named, false: c.not} {
			for _, host := range hosts {
				_, found := chain.ByHost(one, host)
				if got := chain.IsNamed(&u, host); got != want || found != want {
					t.Errorf("%s is named %q: %t, found by it: %t, want %t", c.url, host, got, found, want)
				}
			}
		}
	}
}

// FuzzOffers holds what tenants write against what clients ask: no pattern may
// take long or fail.
func FuzzOffers(f *testing.F) {
	f.Add("library/**", "library/alpine")
	f.Add("*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaa")
	f.Add("**/**/**/**/**/**/x", "a/b/c/d/e/f/g/h")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if oci.CheckPattern(pattern) != nil {
			return
		}
		u := meta.Upstream{Settings: meta.UpstreamSettings{Include: []string{pattern}, Exclude: []string{pattern}}}
		if chain.Offers(&u, name) {
			t.Errorf("%q is included and excluded by %q at once", name, pattern)
		}
	})
}

func BenchmarkOf(b *testing.B) {
	tp := acme()
	for b.Loop() {
		if _, err := chain.Of(tp, "dev"); err != nil {
			b.Fatal(err)
		}
	}
}
