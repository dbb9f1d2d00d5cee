package chain_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
)

func TestG10_StoragesAreThoseOfTheMembersThatAnswer(t *testing.T) {
	tp := acme()
	ghcr, hub := tp.Upstreams["ghcr"], tp.Upstreams["hub"]
	ghcr.Cache, hub.Cache = 30, 40
	ghcr.Settings.NamePrefix = "mirror/"
	ghcr.Settings.Exclude = []string{"mirror/team-x/hidden"}
	hub.Settings.Include = []string{"library/*", "app"}
	tp.Upstreams["ghcr"], tp.Upstreams["hub"] = ghcr, hub
	for _, c := range []struct{ registry, name, want string }{
		{"dev", "app", "[{3 app false false} {40 app true false}]"},
		{"dev", "library/a", "[{3 library/a false false} {40 library/a false false}]"},          // allowed although it is claimed
		{"dev", "team-x/app", "[{3 team-x/app false false} {30 mirror/team-x/app true false}]"}, // hub does not include it
		{"dev", "team-x/hidden", "[{3 team-x/hidden false false}]"},                             // by its name at the upstream
		{"dev", "secret/a", "[]"}, // and so no one below prod either
		{"prod", "app", "[{40 app true false}]"},
		{"main", "app", "[]"},
	} {
		made, err := chain.Of(tp, c.registry)
		if err != nil {
			t.Fatal(err)
		}
		storages := made.Storages(c.name, nil)
		for i, s := range storages {
			if isCache := s.Registry >= 30; isCache != (s.Upstream != nil) || isCache && s.Upstream.Cache != s.Registry {
				t.Errorf("the upstream of %d is %v", s.Registry, s.Upstream)
			}
			storages[i].Upstream = nil
		}
		if got := strings.ReplaceAll(fmt.Sprint(storages), "<nil> ", ""); got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.name, c.registry, got, c.want)
		}
	}
}

// A name that the prefix makes too long is not the upstream's.
func TestStorages_LeaveNamesThatCannotBe(t *testing.T) {
	tp := acme()
	hub := tp.Upstreams["hub"]
	hub.Settings = meta.UpstreamSettings{NamePrefix: "Not/A/Name/"}
	tp.Upstreams["hub"] = hub
	made, err := chain.Of(tp, "prod")
	if err != nil {
		t.Fatal(err)
	}
	if got := made.Storages("app", nil); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}
