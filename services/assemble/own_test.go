package assemble

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/boot"
)

// TestS68_OwnAddresses knows listeners in every way that an address can be
// written, and the servers of the configuration.
func TestS68_OwnAddresses(t *testing.T) {
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	c := boot.Default()
	c.Meta = boot.NewURL("postgres://berth@10.0.0.7,10.0.0.8:6432/berth?host=10.0.0.9&port=5555")
	c.Blobs = boot.NewURL("s3://bucket?endpoint=http://10.0.0.10:9000")
	c.Redis = boot.NewURL("redis://127.0.0.1/0")
	c.ProxyURL = boot.NewURL("http://10.0.0.11:5091")
	c.HTTPSProxy = boot.NewURL("10.0.0.13:3128")
	c.UpstreamProxies = boot.Proxies{{Name: "corp", URL: boot.NewURL("http://bob:secret@10.0.0.14")}, {Name: "none"}}
	o := newOwnAddresses(c, func() []net.Addr {
		return []net.Addr{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5090}, &net.TCPAddr{IP: net.IPv6unspecified, Port: 5000}, &net.TCPAddr{IP: net.IPv4(10, 9, 9, 9), Port: 5080}}
	})
	listens := map[string]bool{
		"127.0.0.1:5090": true, "[::ffff:127.0.0.1]:5090": true, "0.0.0.0:5090": true, "127.0.0.1:5000": true, "127.3.2.1:5000": true, "[::1]:5000": true, "[::]:5000": true, "10.9.9.9:5080": true,
		"127.0.0.1:5091": false, "10.1.2.3:5000": false, "10.9.9.9:5081": false, "93.184.216.34:5000": false,
	}
	for _, a := range interfaces {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			listens[netip.AddrPortFrom(p.Addr(), 5000).String()] = true
			listens[netip.AddrPortFrom(p.Addr(), 6379).String()] = true // Redis is on this machine, and may listen there, too
		}
	}
	for at, want := range listens {
		if got := o.listens(netip.MustParseAddrPort(at)); got != want {
			t.Errorf("listens at %s: %v, want %v", at, got, want)
		}
	}
	for at, want := range map[string]bool{
		"10.0.0.8:6432": true, "10.0.0.10:9000": true, "127.0.0.1:6379": true, "0.0.0.0:6379": true, "10.0.0.11:5091": true, "10.0.0.9:5555": true, "10.0.0.13:3128": true, "10.0.0.14:80": true,
		"10.0.0.10:9001": false, "10.0.0.12:5091": false, "127.0.0.1:6380": false,
	} {
		if got := o.serves(netip.MustParseAddrPort(at)); got != want {
			t.Errorf("serves at %s: %v, want %v (%v)", at, got, want, o.servers)
		}
	}
	named := serversOf("redis://localhost:1234", "6379")
	if !slices.Equal(named, []string{"localhost:1234"}) || !(&ownAddresses{servers: named, lookUp: net.DefaultResolver.LookupNetIP, known: map[string]lookedUp{}}).serves(netip.MustParseAddrPort("127.0.0.1:1234")) {
		t.Errorf("a server that is named is not found: %v", named)
	}
}

// A name server that does not answer holds up what needs its name, and nothing else.
func TestS68_LookUpsHoldOthersUpNot(t *testing.T) {
	asked, answer := make(chan string), make(chan struct{})
	o := &ownAddresses{
		listeners: func() []net.Addr { return nil }, servers: []string{"slow.example.com:5432"},
		lookUp: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			asked <- host
			<-answer
			return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
		},
		known: map[string]lookedUp{"known.example.com": {addrs: []netip.Addr{netip.MustParseAddr("10.0.0.8")}, at: time.Now()}},
	}
	slow := make(chan bool)
	for range 2 {
		go func() { slow <- o.serves(netip.MustParseAddrPort("10.0.0.7:5432")) }()
	}
	<-asked
	if !o.leadsTo("known.example.com", netip.MustParseAddr("10.0.0.8")) {
		t.Error("a name that is known is not found")
	}
	close(answer)
	for range 2 {
		if !<-slow {
			t.Error("the server is not found")
		}
	}
}
