package assemble

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Nobody but who sits at the machine may push to a fresh deployment without a
// credential, unless the operator says so: also where a proxy stands before
// it, and where the first start was another.
func TestB17_AnonymousPushIsForThisMachineOnly(t *testing.T) {
	here := boot.Default()
	proxied, trusting, exposed, asked := here, here, here, here
	proxied.PublicScheme = "https"
	trusting.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	exposed.DataAddr = ":5000"
	asked.DataAddr, asked.AnonymousPush = ":5000", true
	pushed := func(s *sqlitemeta.Store, c boot.Config) bool {
		t.Helper()
		if _, err := firstStart(t.Context(), c, s); err != nil {
			t.Fatal(err)
		}
		told, err := settlePush(t.Context(), c, s, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := access.OpenKeys(t.Context(), s); err != nil { // ends the first start
			t.Fatal(err)
		}
		site, err := s.FindSite(t.Context(), tenant.Lookup{Host: "localhost"})
		if err != nil || !site.Settings.AnonymousPull {
			t.Fatalf("%+v, %v", site, err)
		}
		if told.AnonymousPush != site.Settings.AnonymousPush {
			t.Errorf("the operator is told that anonymous push is %v", told.AnonymousPush)
		}
		return site.Settings.AnonymousPush
	}
	for _, c := range []struct {
		name  string
		first boot.Config
		then  boot.Config
		want  [2]bool
	}{
		{"here", here, here, [2]bool{true, true}},
		{"exposed", exposed, here, [2]bool{false, false}},
		{"behind a proxy", proxied, proxied, [2]bool{false, false}},
		{"that trusts a proxy", trusting, trusting, [2]bool{false, false}},
		{"here, then exposed", here, exposed, [2]bool{true, false}},
		{"here, then behind a proxy", here, proxied, [2]bool{true, false}},
		{"as asked", asked, asked, [2]bool{true, true}},
		{"asked for later", exposed, asked, [2]bool{false, true}},
		{"asked for, then no more", asked, exposed, [2]bool{true, false}},
		{"asked for, then here", asked, here, [2]bool{true, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got := [2]bool{pushed(s, c.first), pushed(s, c.then)}; got != c.want {
				t.Errorf("anonymous push at the first and the next start: %v, want %v", got, c.want)
			}
		})
	}
}

// TestP3_AnonymousPushSaysWhyNot starts with the flag where it can do nothing.
func TestP3_AnonymousPushSaysWhyNot(t *testing.T) {
	s, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := boot.Default()
	c.AnonymousPush = true
	if _, err := firstStart(t.Context(), c, s); err != nil {
		t.Fatal(err)
	}
	settled := func(want *DefaultRegistry, says string) {
		t.Helper()
		var log bytes.Buffer
		got, err := settlePush(t.Context(), c, s, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil || (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		if !strings.Contains(log.String(), says) || says == "" && log.Len() > 0 {
			t.Errorf("the log does not say %q: %s", says, &log)
		}
	}
	by := meta.Cause{Op: uuid.New(), Actor: "test"}
	settled(&DefaultRegistry{AnonymousPull: true, AnonymousPush: true}, "")
	own, err := s.FindTenant(t.Context(), defaultTenant)
	if err != nil {
		t.Fatal(err)
	}
	main, err := s.FindRegistry(t.Context(), own.ID, tenant.MainRegistry)
	if err != nil {
		t.Fatal(err)
	}
	main.Settings.ReadOnly = true
	if _, err := s.UpdateRegistry(t.Context(), by, main); err != nil {
		t.Fatal(err)
	}
	settled(&DefaultRegistry{AnonymousPull: true}, "read_only=true")
	by.Op = uuid.New()
	if err := s.DeleteTenant(t.Context(), by, own.Slug, 0, true); err != nil {
		t.Fatal(err)
	}
	settled(nil, "was deleted")
}
