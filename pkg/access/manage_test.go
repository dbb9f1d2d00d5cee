package access

import (
	"net/netip"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

func TestU68_WhoManages(t *testing.T) {
	keeper := ServiceAccount(1, 7, "keeper", Member)
	gives := Rule{Principals: []string{keeper.Name}, Registries: []string{"dev"}, Repositories: []string{"**"}, Actions: Manage}
	with := func(change func(*Rule)) Rule {
		r := gives
		change(&r)
		return r
	}
	office := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for name, c := range map[string]struct {
		rules         []Rule
		whole, inside bool // the registry dev, the repository team/app
	}{
		"no rule":               {nil, false, false},
		"all":                   {[]Rule{gives}, true, true},
		"another registry":      {[]Rule{with(func(r *Rule) { r.Registries = []string{"prod"} })}, false, false},
		"every registry":        {[]Rule{with(func(r *Rule) { r.Registries = nil })}, true, true},
		"one folder":            {[]Rule{with(func(r *Rule) { r.Repositories = []string{"team/**"} })}, false, true},
		"other actions":         {[]Rule{with(func(r *Rule) { r.Actions = Pull | Push | Delete | Fill })}, false, false},
		"all signed in":         {[]Rule{with(func(r *Rule) { r.Principals = []string{Authenticated} })}, true, true},
		"anonymous":             {[]Rule{with(func(r *Rule) { r.Principals = []string{AnonymousPrincipal} })}, false, false},
		"in the office":         {[]Rule{with(func(r *Rule) { r.Networks = office })}, false, false},
		"until tomorrow":        {[]Rule{with(func(r *Rule) { r.Until = time.Now().Add(time.Hour) })}, true, true},
		"until yesterday":       {[]Rule{with(func(r *Rule) { r.Until = time.Now().Add(-time.Hour) })}, false, false},
		"taken":                 {[]Rule{gives, with(func(r *Rule) { r.Deny = true })}, false, false},
		"taken from one folder": {[]Rule{gives, with(func(r *Rule) { r.Deny, r.Repositories = true, []string{"x/**"} })}, false, true},
	} {
		site := &tenant.Site{Tenant: 1, RegistrySlug: "dev", Settings: tenant.Settings{ReadOnly: true, AnonymousPush: true}}
		rights := NewPolicy(1, c.rules).Rights(site, keeper, netip.MustParseAddr("192.0.2.1"))
		if rights.Manages() != c.whole || rights.ManagesRepository("team/app") != c.inside {
			t.Errorf("%s: %v, %v", name, rights.Manages(), rights.ManagesRepository("team/app"))
		}
		for _, other := range []Principal{{}, ServiceAccount(2, 8, "keeper", Admin)} {
			rights := NewPolicy(1, c.rules).Rights(site, other, netip.MustParseAddr("192.0.2.1"))
			if rights.Manages() || rights.ManagesRepository("team/app") {
				t.Errorf("%s: %q of tenant %d manages", name, other.Name, other.Tenant)
			}
		}
	}
}
