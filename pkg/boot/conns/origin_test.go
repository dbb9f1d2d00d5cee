package conns

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
)

// closed counts those that the server has ended.
func closed(all []client) int {
	n := 0
	for _, c := range all {
		if isCut(c) {
			n++
		}
	}
	return n
}

// Honest clients behind one address keep their connections beside an attacker who has
// hundreds of silent addresses with one connection each: those of one network pay for each
// other at three quarters already.
func TestS13_ManyAddressesDoNotPushOutOne(t *testing.T) {
	t.Parallel()
	for name, attacker := range map[string]struct {
		from func(i int) string
		lost int
	}{
		"many networks": {func(i int) string { return fmt.Sprintf("127.100.%d.1", i) }, 100}, // of 250, in a pool of 160
		"one network":   {func(i int) string { return fmt.Sprintf("127.100.7.%d", i+1) }, 140},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Limits{Max: 160})
			var crowd, office []client
			for range 10 { // behind one address
				c := w.dial("127.100.251.9")
				c.server.Begin()
				c.server.End()
				office = append(office, c)
			}
			for i := range 250 {
				c := w.dial(attacker.from(i))
				crowd = append(crowd, c)
				if c.server != nil { // a new one is spared for a moment
					c.server.mu.Lock()
					c.server.opened = c.server.opened.Add(-time.Minute)
					c.server.mu.Unlock()
				}
			}
			await.True(w, patience, "as many are closed", func() bool { return closed(crowd) == attacker.lost })
			if n := closed(office); n > 0 {
				t.Errorf("%d of the office's ten connections are closed", n)
			}
		})
	}
}

// One address, and one network of many addresses, cannot take all: others find room
// also while all of its connections work.
func TestS14_NoNetworkTakesAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{Max: 80})
	works := func(from string) bool {
		c := w.dial(from)
		if c.server != nil {
			c.server.Begin()
		}
		return c.server != nil
	}
	taken := 0
	for i := range 100 {
		if works(fmt.Sprintf("127.100.7.%d", i%50+1)) {
			taken++
		}
	}
	if taken != 60 {
		t.Errorf("one network has %d connections of 80, want three quarters", taken)
	}
	for i := range 20 {
		if !works(fmt.Sprintf("127.100.%d.1", 8+i)) {
			t.Fatalf("another is refused at %d", i)
		}
	}
	if w.isOpen() != 80 {
		t.Errorf("%d are open", w.isOpen())
	}
}

// Processes of the deployment have no share: one may carry the requests of many.
func TestS14_ProcessesOfTheDeploymentHaveNoShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{Max: 40, Peers: "data"})
	for i := range 40 {
		c := w.dial("127.0.0.2")
		if c.server == nil {
			t.Fatalf("refused at %d", i)
		}
		c.server.Begin()
	}
}

// Within a network, the address that takes the most loses first.
func TestS13_TheAddressWithinANetworkThatTakesMostLoses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{Max: 80})
	var few, many []client
	for i := range 30 {
		few = append(few, w.dial(fmt.Sprintf("127.100.7.%d", i+1)))
	}
	for range 50 {
		many = append(many, w.dial("127.100.7.200"))
	}
	for i := range 20 {
		if c := w.dial(fmt.Sprintf("127.100.8.%d", i+1)); c.server == nil {
			t.Fatal("refused")
		}
	}
	await.True(w, patience, "as many are closed", func() bool { return closed(many) == 20 })
	if n := closed(few); n > 0 {
		t.Errorf("%d of addresses with one connection are closed", n)
	}
}

// What counts as one address, customer and network.
func TestS13_Origins(t *testing.T) {
	t.Parallel()
	p := NewSet(slog.New(slog.DiscardHandler), 1024).Pool(Limits{Max: 10, Trusted: []netip.Prefix{netip.MustParsePrefix("fd00::/8")}})
	of := func(ip string) string {
		var text string
		for _, n := range p.originOf(&net.TCPAddr{IP: net.ParseIP(ip), Port: 1}) {
			if n.IsValid() {
				text += n.String() + " "
			}
		}
		return text
	}
	for ip, want := range map[string]string{
		"2001:db8:1:2fe::3": "2001:db8:1:2fe::/64 2001:db8:1:200::/56 2001:db8:1::/48 ",
		"192.0.2.1":         "192.0.2.1/32 192.0.2.0/24 ",
		"::ffff:192.0.2.1":  "192.0.2.1/32 192.0.2.0/24 ",
		"10.1.2.3":          "10.1.2.3/32 ",
		"100.64.0.1":        "100.64.0.1/32 ",
		"127.0.0.1":         "127.0.0.1/32 ",
		"fc00::1":           "fc00::/64 ",
		"fd00::1":           "", // a trusted proxy
	} {
		if got := of(ip); got != want {
			t.Errorf("%s: %q, want %q", ip, got, want)
		}
	}
}
