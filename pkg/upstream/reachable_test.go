package upstream

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
)

// TestN1_AddressesThatConfigurationRefuses are told before anything is asked of
// them, without a word about the address, in the same words for all ports.
func TestN1_AddressesThatConfigurationRefuses(t *testing.T) {
	private, public := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("93.184.216.34")
	names := map[string][]netip.Addr{
		"inside.example.com": {private}, "mixed.example.com": {private, public}, "outside.example.com": {public}, "nowhere.example.com": nil,
	}
	const notPublic, inClear = "a network that is not public; the operator's upstream_allow must name it", "http is for networks that the operator's upstream_allow names"
	for _, c := range []struct{ url, want string }{
		{"https://10.0.0.1", notPublic},
		{"https://10.0.0.1:2375", notPublic},
		{"http://127.0.0.1:5000", notPublic},
		{"https://[::1]", notPublic},
		{"https://localhost:5000", notPublic},
		{"https://dev.acme.localhost", notPublic},
		{"https://inside.example.com", notPublic},
		{"http://inside.example.com:8080", notPublic},
		{"http://outside.example.com", inClear},
		{"http://93.184.216.34", inClear},
		{"https://mixed.example.com", ""},
		{"https://outside.example.com", ""},
		{"https://nowhere.example.com", ""},
		{"https://192.168.7.7", ""},
		{"http://192.168.7.7:5000", ""},
	} {
		var host string
		for name := range names {
			if strings.Contains(c.url, name) {
				host = name
			}
		}
		cs := newClients(Options{
			Allow:    []Network{{Prefix: netip.MustParsePrefix("192.168.0.0/16")}},
			Resolver: resolver(t, &dnsServer{answer: func(int) []netip.Addr { return names[host] }}),
		}, patient())
		err := cs.CheckAddress(t.Context(), "acme", "", c.url)
		switch {
		case c.want == "" && err == nil:
		case c.want == "" || err == nil:
			t.Errorf("%s: %v", c.url, err)
		default:
			f := fault.From(err)
			if f.Kind != fault.Invalid || f.Field != "url" || !strings.Contains(f.Message, c.want) || strings.Contains(f.Message, private.String()) {
				t.Errorf("%s: %+v", c.url, f)
			}
		}
	}
}

// TestN1_HealthIsOneWord for what the last request came to.
func TestN1_HealthIsOneWord(t *testing.T) {
	c := clientOf(t, newClients(Options{}, patient()), Config{Target: Target{URL: "https://127.0.0.1:" + unused(t)}})
	if got := c.Status().Health; got != NeverAsked {
		t.Errorf("before the first request: %q", got)
	}
	for range 30 { // the breaker does not open: nothing was tried
		_, err := c.Manifest(t.Context(), "a/b", latest)
		if f := fault.From(err); f.Kind != fault.BadUpstream || f.Detail == nil {
			t.Fatalf("%+v", f)
		}
	}
	if s := c.Status(); s.Health != RefusedByConfiguration || s.State != "closed" {
		t.Errorf("%+v", s)
	}
	c = clientOf(t, newClients(Options{Allow: loopback}, patient()), Config{Target: Target{URL: "https://127.0.0.1:" + unused(t)}})
	_, err := c.Manifest(t.Context(), "a/b", latest)
	wantOutage(t, err)
	if s := c.Status(); s.Health != Unreachable {
		t.Errorf("%+v", s)
	}
}
