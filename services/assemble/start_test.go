package assemble

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot"
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
		if err := closeToStrangers(t.Context(), c, s, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		if _, err := access.OpenKeys(t.Context(), s); err != nil { // ends the first start
			t.Fatal(err)
		}
		site, err := s.FindSite(t.Context(), tenant.Lookup{Host: "localhost"})
		if err != nil || !site.Settings.AnonymousPull {
			t.Fatalf("%+v, %v", site, err)
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
