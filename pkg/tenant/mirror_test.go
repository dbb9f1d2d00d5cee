package tenant

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

func TestV61_MirrorHostsAreLookedUpByTheirHash(t *testing.T) {
	d, finder, _ := newDirectory(t)
	label := NewMirrorLabel()
	if label == NewMirrorLabel() || CheckSlug(label) == nil {
		t.Fatalf("%s may be a tenant's, or is not random", label)
	}
	want := Lookup{Host: "m-redacted.reg.example", Mirror: MirrorHash(label)}
	finder.sites[want] = Site{Host: want.Host, Tenant: 7, Mirror: Mirror{Slug: "engines"}}
	for _, host := range []string{label + ".reg.example", strings.ToUpper(label) + ".reg.example:5000"} {
		if site, err := d.Resolve(t.Context(), host); err != nil || !site.IsMirror() || finder.last != want {
			t.Errorf("%s: %+v, %v by %+v", host, site, err, finder.last)
		}
	}
	if n := finder.lookups.Load(); n != 1 {
		t.Errorf("%d lookups, want 1", n)
	}
	for _, host := range []string{label + ".other.example", label + "a.reg.example", label[:33] + ".reg.example", label[:33] + "1.reg.example", "x." + label + ".reg.example"} {
		if _, err := d.Resolve(t.Context(), host); !fault.Is(err, fault.HostUnknown) || finder.last.Mirror != [32]byte{} {
			t.Errorf("%s: %v by %+v", host, err, finder.last)
		}
	}
}

func TestV64_MirrorHostsAdmitTheirNetworksUntilTheirEnd(t *testing.T) {
	now := time.Now()
	m := Mirror{Networks: NetworksOf([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}), Until: now.Add(time.Second)}
	for text, admitted := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "2001:db8::1": true, "11.0.0.1": false, "2001:db9::1": false} {
		if err := m.Admits(netip.MustParseAddr(text), now); (err == nil) != admitted {
			t.Errorf("%s: %v", text, err)
		}
	}
	if m.Admits(netip.Addr{}, now) == nil || m.Admits(netip.MustParseAddr("10.1.2.3"), m.Until) == nil {
		t.Error("an unknown address, or a time after the end, is admitted")
	}
	if m.Networks = ""; m.Admits(netip.Addr{}, now) != nil {
		t.Error("without networks not every client is admitted")
	}
}

// FuzzV63_NoNameIsLeft in whatever text.
func FuzzV63_NoNameIsLeft(f *testing.F) {
	f.Add("GET https://", ".reg.example/v2/")
	f.Add("m-", "")
	f.Add("arm-", "-m-")
	f.Add("é", "\xff")
	f.Fuzz(func(t *testing.T, before, after string) {
		label := NewMirrorLabel()
		text := before + " " + strings.ToUpper(label) + "-" + after + "/" + label
		got := RedactMirrors(text)
		if strings.Contains(strings.ToLower(got), label[2:]) || strings.Count(got, RedactedMirror) < 2 {
			t.Errorf("%q becomes %q", text, got)
		}
		if again := RedactMirrors(got); again != got {
			t.Errorf("%q becomes %q", got, again)
		}
	})
}

func TestV63_OtherTextsStay(t *testing.T) {
	for _, text := range []string{"", "-", "m-", "m-dev.reg.example", "team-0123456789abcdef0123456789abcdef", "m-0123456789abcdef", "sha256:" + strings.Repeat("a", 64)} {
		if got := RedactMirrors(text); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}
