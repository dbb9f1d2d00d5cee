package assemble

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
)

// settled starts as the configuration says, and tells what anyone may do then at
// each host, and what the log says of it.
func settled(t *testing.T, s *sqlitemeta.Store, c boot.Config) (map[string]tenant.Settings, string) {
	t.Helper()
	if _, err := firstStart(t.Context(), c, s); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	told, err := defaultSettler{c, s, slog.New(slog.NewTextHandler(&log, nil))}.settle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := seal.New([]byte("a secret key that seals them"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := access.OpenSigner(t.Context(), s, secrets, access.SignerOptions{Life: time.Hour}); err != nil { // ends the first start
		t.Fatal(err)
	}
	found := served(t, s, c)
	if open, ok := found["localhost"]; ok != (told != nil) || ok && (told.AnonymousPull != open.AnonymousPull || told.AnonymousPush != open.AnonymousPush) {
		t.Errorf("the operator is told %+v of %+v", told, found)
	}
	return found, log.String()
}

// served is what answers at each host that the default tenant could have.
func served(t *testing.T, s *sqlitemeta.Store, c boot.Config) map[string]tenant.Settings {
	t.Helper()
	pattern, err := tenant.NewPattern(c.HostPattern, c.BaseDomain)
	if err != nil {
		t.Fatal(err)
	}
	sites, found := tenant.NewDirectory(defaultSites{s}, pattern), map[string]tenant.Settings{}
	for _, host := range []string{"localhost", "127.0.0.1", "default." + c.BaseDomain} {
		site, err := sites.Resolve(t.Context(), host)
		switch {
		case err == nil:
			found[host] = site.Settings
		case !fault.Is(err, fault.HostUnknown):
			t.Fatal(err)
		}
	}
	return found
}

func openStore(t *testing.T) *sqlitemeta.Store {
	t.Helper()
	s, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// shapes are configurations of a first start that differ in who can reach it.
type shapes struct{ here, proxied, trusting, exposed, named, asked, pushed boot.Config }

func newShapes() shapes {
	here := boot.Default()
	s := shapes{here, here, here, here, here, here, here}
	s.proxied.PublicScheme = "https"
	s.trusting.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	s.exposed.DataAddr = ":5000"
	s.named.BaseDomain = "registry.example.com"
	s.asked.DataAddr, s.asked.BaseDomain, s.asked.SeedDefault = ":443", "registry.example.com", true
	s.pushed = s.asked
	s.pushed.AnonymousPush = true
	return s
}

// TestS64_NothingAnonymousElsewhere starts every shape for the first time: only on
// this machine, or where it is asked for, anyone may anything, and then at two
// hosts. Push is a question of its own.
func TestS64_NothingAnonymousElsewhere(t *testing.T) {
	all := newShapes()
	pushing := all.exposed
	pushing.AnonymousPush = true
	for name, c := range map[string]struct {
		config     boot.Config
		open, push bool
	}{
		"this machine":           {all.here, true, true},
		"behind a proxy":         {all.proxied, false, false},
		"trusting a proxy":       {all.trusting, false, false},
		"other machines":         {all.exposed, false, false},
		"other machines, push":   {pushing, false, false},
		"a domain":               {all.named, false, false},
		"as asked":               {all.asked, true, false},
		"as asked, also to push": {all.pushed, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			found, _ := settled(t, s, c.config)
			if c.open {
				open := found["localhost"]
				if len(found) != 2 || open != found["127.0.0.1"] || !open.AnonymousPull || open.AnonymousPush != c.push || open.UpstreamGroup != "docker-library" {
					t.Errorf("%+v, want two hosts, and push %v", found, c.push)
				}
				return
			}
			if _, err := s.FindHolder(t.Context(), defaultTenant); len(found) > 0 || !fault.Is(err, fault.ResourceUnknown) {
				t.Errorf("%+v is served, and the tenant is looked up with %v", found, err)
			}
		})
	}
}

// TestB17_AnonymousPushIsForThisMachineOnly changes the configuration between two
// starts.
func TestB17_AnonymousPushIsForThisMachineOnly(t *testing.T) {
	all := newShapes()
	herePushed := all.here
	herePushed.AnonymousPush = true
	for _, c := range []struct {
		name  string
		first boot.Config
		then  boot.Config
		want  [2]bool
	}{
		{"here", all.here, all.here, [2]bool{true, true}},
		{"here, then exposed", all.here, all.exposed, [2]bool{true, false}},
		{"here, then behind a proxy", all.here, all.proxied, [2]bool{true, false}},
		{"here, then as asked", all.here, all.asked, [2]bool{true, false}},
		{"here, then as asked, also to push", all.here, all.pushed, [2]bool{true, true}},
		{"as asked", all.pushed, all.pushed, [2]bool{true, true}},
		{"asked for later", all.asked, all.pushed, [2]bool{false, true}},
		{"asked for, then no more", all.pushed, all.asked, [2]bool{true, false}},
		{"asked for, then here", all.pushed, herePushed, [2]bool{true, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, got := openStore(t), [2]bool{}
			for i, config := range []boot.Config{c.first, c.then} {
				found, _ := settled(t, s, config)
				got[i] = found["localhost"].AnonymousPush
			}
			if got != c.want {
				t.Errorf("anonymous push at the first and the next start: %v, want %v", got, c.want)
			}
		})
	}
}

// TestS65_AnUpgradeClosesWhatOthersReach has a directory of before, where every
// first start made the tenant default, open under three hosts.
func TestS65_AnUpgradeClosesWhatOthersReach(t *testing.T) {
	all := newShapes()
	for name, c := range map[string]boot.Config{"proxied": all.proxied, "trusting": all.trusting, "exposed": all.exposed, "named": all.named} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			settled(t, s, all.here)
			found, log := settled(t, s, c)
			own := found["default."+c.BaseDomain]
			if len(found) != 1 || own.AnonymousPull || own.AnonymousPush || own.UpstreamGroup != "docker-library" {
				t.Errorf("%+v is served", found)
			}
			for _, says := range []string{"closed to callers who are not logged in", "--seed-default", "hosts_removed", "anonymous_pull_removed=true", "anonymous_push_removed=true"} {
				if !strings.Contains(log, says) {
					t.Errorf("the log does not say %q: %s", says, log)
				}
			}
			if _, log := settled(t, s, c); log != "" {
				t.Errorf("the next start says it again: %s", log)
			}

			// What the operator opens then stays open.
			own.AnonymousPull = true
			holder, err := s.FindTenant(t.Context(), defaultTenant)
			if err != nil {
				t.Fatal(err)
			}
			opened, err := s.FindRegistry(t.Context(), holder.ID, tenant.MainRegistry)
			if err != nil {
				t.Fatal(err)
			}
			opened.Settings = own
			by := meta.Cause{Op: uuid.New(), Actor: "operator"}
			if _, err := s.UpdateRegistry(t.Context(), by, opened); err != nil {
				t.Fatal(err)
			}
			if found, _ := settled(t, s, c); !found["default."+c.BaseDomain].AnonymousPull {
				t.Error("what the operator opened is closed by the next start")
			}

			c.SeedDefault = true
			if found, log := settled(t, s, c); len(found) != 2 || !found["localhost"].AnonymousPull || found["localhost"].AnonymousPush || !strings.Contains(log, "as seed_default says") {
				t.Errorf("asked for, %+v is served: %s", found, log)
			}
		})
	}
}

// TestS65_ATenantThatIsTakenBackIsClosed deletes the tenant while it is open to
// this machine alone, and takes it back where others reach it.
func TestS65_ATenantThatIsTakenBackIsClosed(t *testing.T) {
	all := newShapes()
	s := openStore(t)
	settled(t, s, all.here)
	by := func() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "test"} }
	if err := s.DeleteTenant(t.Context(), by(), defaultTenant, 0, true); err != nil {
		t.Fatal(err)
	}
	if found, _ := settled(t, s, all.named); len(found) > 0 {
		t.Errorf("%+v is served of a deleted tenant", found)
	}
	undelete := defaultSettler{all.named, s, slog.New(slog.DiscardHandler)}.afterUndelete("UndeleteTenant")(
		func(ctx context.Context, _ any) (any, error) {
			return s.UndeleteTenant(ctx, by(), defaultTenant, 0)
		})
	if _, err := undelete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if found := served(t, s, all.named); len(found) != 1 || found["default.registry.example.com"].AnonymousPull || found["default.registry.example.com"].AnonymousPush {
		t.Errorf("%+v is served of the tenant that was taken back", found)
	}
}

// TestP3_AnonymousPushSaysWhyNot starts with the flags where they can do nothing.
func TestP3_AnonymousPushSaysWhyNot(t *testing.T) {
	all := newShapes()
	s := openStore(t)
	says := func(c boot.Config, what string) {
		t.Helper()
		if _, log := settled(t, s, c); !strings.Contains(log, what) || what == "" && log != "" {
			t.Errorf("the log does not say %q: %s", what, log)
		}
	}
	exposed, here := all.exposed, all.here
	exposed.AnonymousPush, here.AnonymousPush = true, true
	says(exposed, "is not there; set seed_default")
	says(all.pushed, "the tenant default is made, as seed_default says")
	says(exposed, "anonymous_push gives nothing")
	says(here, "")
	says(all.pushed, "as anonymous_push says")
	own, err := s.FindTenant(t.Context(), defaultTenant)
	if err != nil {
		t.Fatal(err)
	}
	main, err := s.FindRegistry(t.Context(), own.ID, tenant.MainRegistry)
	if err != nil {
		t.Fatal(err)
	}
	main.Settings.ReadOnly = true
	by := meta.Cause{Op: uuid.New(), Actor: "test"}
	if _, err := s.UpdateRegistry(t.Context(), by, main); err != nil {
		t.Fatal(err)
	}
	_, err = defaultSettler{all.pushed, s, slog.New(slog.DiscardHandler)}.settle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	by.Op = uuid.New()
	if err := s.DeleteTenant(t.Context(), by, own.Slug, 0, true); err != nil {
		t.Fatal(err)
	}
	says(all.pushed, "was deleted")
}
