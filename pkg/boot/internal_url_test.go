package boot

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestInternalURL(t *testing.T) {
	node := func(edit func(*Config)) string {
		c := Default()
		c.Meta, c.InternalKey = NewURL("postgres://db/berth"), NewSecret(strings.Repeat("k", 32))
		edit(&c)
		return c.InternalURL()
	}
	at := func(addr string) func(*Config) { return func(c *Config) { c.InternalAddr = addr } }
	for name, c := range map[string]struct{ got, want string }{
		"of one address":        {node(at("10.0.0.7:5091")), "http://10.0.0.7:5091"},
		"of a name":             {node(at("node-1.internal:80")), "http://node-1.internal:80"},
		"of IPv6":               {node(at("[fd00::7]:5091")), "http://[fd00::7]:5091"},
		"the default":           {node(func(*Config) {}), ""},
		"of loopback":           {node(at("[::1]:5091")), ""},
		"localhost":             {node(at("localhost:5091")), ""},
		"given, of loopback":    {node(func(c *Config) { c.InternalAt = NewURL("http://127.0.0.1:5092") }), "http://127.0.0.1:5092"},
		"given":                 {node(func(c *Config) { c.InternalAt = NewURL("https://n1.internal/") }), "https://n1.internal"},
		"given, of every one":   {node(func(c *Config) { c.InternalAt, c.InternalAddr = NewURL("http://n1:1"), ":5091" }), "http://n1:1"},
		"a port that is chosen": {node(at("127.0.0.1:0")), ""},
		"embedded":              {node(func(c *Config) { c.Meta = URL{} }), ""},
		"without a key":         {node(func(c *Config) { c.InternalKey = Secret{} }), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
	for _, every := range []string{":5091", "0.0.0.0:5091", "[::]:5091"} {
		if machineAddress() == "" { // it is alone
			if got := node(at(every)); got != "" {
				t.Errorf("%s of a machine without an address: %q", every, got)
			}
			continue
		}
		u, err := url.Parse(node(at(every)))
		if err != nil || u.Scheme != "http" || u.Port() != "5091" {
			t.Fatalf("%s: %v, %v", every, u, err)
		}
		ip, err := netip.ParseAddr(u.Hostname())
		if err != nil || ip.IsUnspecified() || ip.IsLoopback() {
			t.Fatalf("%s: no other machine reaches %s", every, u)
		}
		// Only an address of this machine can be listened on.
		l, err := net.Listen("tcp", net.JoinHostPort(ip.String(), "0"))
		if err != nil {
			t.Fatalf("%s: %v", u, err)
		}
		_ = l.Close()
	}
}
