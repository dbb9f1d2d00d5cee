package upstream

import (
	"errors"
	"net/netip"
	"testing"
)

// TestT56_NoUpstreamIsAMetadataServer, whatever the operator allows.
func TestT56_NoUpstreamIsAMetadataServer(t *testing.T) {
	all := guard{allow: []Network{{Prefix: netip.MustParsePrefix("0.0.0.0/0")}, {Prefix: netip.MustParsePrefix("::/0")}}}
	for _, addr := range []string{
		"169.254.169.254", "::ffff:169.254.169.254", "::169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1",
		"169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fe80::a9fe:a9fe%eth0",
	} {
		for _, port := range []uint16{80, 443} {
			if err := all.permits(netip.AddrPortFrom(netip.MustParseAddr(addr), port), false); !errors.Is(err, errForbidden) {
				t.Errorf("%s:%d: %v, want it refused", addr, port, err)
			}
		}
		if !IsMetadata(netip.MustParseAddr(addr)) {
			t.Errorf("%s is not known as a metadata server", addr)
		}
	}
	for _, addr := range []string{"169.254.1.1", "10.0.0.1", "127.0.0.1", "fd00::1", "2001:4860::1"} {
		if err := all.permits(netip.AddrPortFrom(netip.MustParseAddr(addr), 443), false); err != nil {
			t.Errorf("%s: %v, and it is allowed", addr, err)
		}
	}
}
