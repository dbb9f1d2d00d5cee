package chain_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// What members of these tests say.
var (
	errDown   = fault.New(fault.BadUpstream, fault.UnavailableReason, "down")
	errDenied = fault.New(fault.Denied, fault.DeniedReason, "denied")
)

// walked asks dev's chain of acme, whose members say what answers holds, and "not
// here" else. It returns who was asked.
func walked(t *testing.T, w chain.Walk, tp meta.Topology, answers map[string]error) ([]string, error) {
	t.Helper()
	var err error
	if w.Chain, err = chain.Of(tp, "dev"); err != nil {
		t.Fatal(err)
	}
	if w.Claimed == nil {
		w.Claimed = func() (bool, error) { return false, nil }
	}
	var asked []string
	err = w.Find(func(m *chain.Member, _ string) error {
		_, slug, _ := strings.Cut(m.Name, "/")
		asked = append(asked, slug)
		if err, ok := answers[slug]; ok {
			return err
		}
		return chain.ErrNotHere
	})
	return asked, err
}

func TestE10_OnlyNotHereGoesOnByItself(t *testing.T) {
	stops := acme()
	stops.Groups["below-dev"] = []meta.Member{{Registry: "prod"}}
	stops.Groups["outside"] = []meta.Member{{Upstream: "hub"}, {Upstream: "ghcr"}}
	passes := acme()
	passes.Groups["below-dev"] = stops.Groups["below-dev"]
	passes.Groups["outside"] = []meta.Member{{Upstream: "hub", OnOutage: meta.Continue, OnDenied: meta.Continue}, {Upstream: "ghcr"}}
	outer := acme()
	outer.Groups["below-dev"] = []meta.Member{{Registry: "prod", OnOutage: meta.Continue}, {Upstream: "ghcr"}}
	outer.Groups["outside"] = []meta.Member{{Upstream: "hub"}}
	for _, c := range []struct {
		what     string
		topology meta.Topology
		answers  map[string]error
		asked    string
		want     error
	}{
		{"all say that it is not here", stops, nil, "prod hub ghcr", chain.ErrNotHere},
		{"the first has it", stops, map[string]error{"prod": nil}, "prod", nil},
		{"the last has it", stops, map[string]error{"ghcr": nil}, "prod hub ghcr", nil},
		{"an outage ends it", stops, map[string]error{"hub": errDown, "ghcr": nil}, "prod hub", errDown},
		{"so does a refused credential", stops, map[string]error{"hub": errDenied, "ghcr": nil}, "prod hub", errDenied},
		{"an outage is passed over by policy", passes, map[string]error{"hub": errDown, "ghcr": nil}, "prod hub ghcr", nil},
		{"but it is not known then whether it is there", passes, map[string]error{"hub": errDown}, "prod hub ghcr", errDown},
		{"a refusal is passed over by policy", passes, map[string]error{"hub": afterLogin{errDenied}}, "prod hub ghcr", chain.ErrNotHere},
		{"no policy overrides an internal failure", passes, map[string]error{"hub": chain.Internal(errDown), "ghcr": nil}, "prod hub", chain.ErrInternal},
		{"the policy of a registry is that of its group", outer, map[string]error{"hub": errDown, "ghcr": nil}, "prod hub ghcr", nil},
	} {
		asked, err := walked(t, chain.Walk{Name: "app"}, c.topology, c.answers)
		if got := strings.Join(asked, " "); got != c.asked || !errors.Is(err, c.want) {
			t.Errorf("%s: asked %s, ended with %v; want %s, %v", c.what, got, err, c.asked, c.want)
		}
	}
}

func TestE9_ClaimedNamesAreLookedUpOnceAndNotAsked(t *testing.T) {
	tp := acme()
	tp.Groups["outside"] = []meta.Member{{Upstream: "ghcr"}, {Upstream: "hub"}}
	for name, want := range map[string]string{"app": "prod", "library/app": "prod hub"} { // hub is allowed claimed names of library
		lookups := 0
		asked, err := walked(t, chain.Walk{Name: name, Claimed: func() (bool, error) { lookups++; return true, nil }}, tp, nil)
		if got := strings.Join(asked, " "); got != want || lookups != 1 || !errors.Is(err, chain.ErrNotHere) {
			t.Errorf("%s: asked %s after %d lookups, %v; want %s", name, got, lookups, err, want)
		}
	}
	unknown := errors.New("the store is down")
	if asked, err := walked(t, chain.Walk{Name: "app", Claimed: func() (bool, error) { return false, unknown }}, tp, nil); !errors.Is(err, chain.ErrInternal) {
		t.Errorf("asked %v, %v: without the claims no upstream may be asked", asked, err)
	}
}

func TestS74_AnonymousCallersAreToldToLogIn(t *testing.T) {
	tp := acme()
	hub := tp.Upstreams["hub"]
	hub.Settings.ServeAnonymous = new(bool)
	tp.Upstreams["hub"] = hub
	tp.Groups["outside"] = []meta.Member{{Upstream: "hub"}}
	asked, err := walked(t, chain.Walk{Name: "app", Anonymous: true}, tp, map[string]error{"hub": nil})
	if slices.Contains(asked, "hub") || !errors.Is(err, chain.ErrLogin) {
		t.Errorf("asked %v, %v; want chain.ErrLogin", asked, err)
	}
}
