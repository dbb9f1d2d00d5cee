package upstream

import (
	"net/netip"
	"testing"
)

func TestE1_OnlyPublicAddressesArePublic(t *testing.T) {
	for _, s := range []string{
		"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255",
		"168.63.129.15", "168.63.129.17", "198.17.255.255", "198.20.0.0", "223.255.255.255", "9.255.255.255", "11.0.0.0", "126.255.255.255",
		"128.0.0.0", "169.253.255.255", "2606:4700::1111", "2a00:1450:4001::1", "2001:200::1", "2001:4860:4860::8888", "2003::1", "::ffff:8.8.8.8",
	} {
		if !isPublic(netip.MustParseAddr(s)) {
			t.Errorf("%s is public", s)
		}
	}
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.255.255.254",
		"168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192",
		"192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.1", "192.175.48.1", "198.18.0.1", "198.19.255.255",
		"198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::2", "::127.0.0.1", "::a00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1",
		"2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::1", "2002:a9fe:a9fe::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254",
		"fdff::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "feff::1", "ff02::1", "ff0e::1", "4000::1", "1::1", "2606:4700::1111%eth0",
	} {
		if isPublic(netip.MustParseAddr(s)) {
			t.Errorf("%s is not public", s)
		}
	}
}

// TestE1_NoNetworkIsPublicAtItsBorders: first and last address of each network,
// as they are and in IPv6 clothing.
func TestE1_NoNetworkIsPublicAtItsBorders(t *testing.T) {
	for _, p := range special {
		first := p.Masked().Addr()
		if first != p.Addr() {
			t.Errorf("%s has bits beyond its length", p)
		}
		bytes := first.AsSlice()
		for i := p.Bits(); i < first.BitLen(); i++ {
			bytes[i/8] |= 0x80 >> (i % 8)
		}
		last, _ := netip.AddrFromSlice(bytes)
		for _, a := range []netip.Addr{first, last} {
			if isPublic(a) || isPublic(netip.AddrFrom16(a.As16())) {
				t.Errorf("%s of %s is public", a, p)
			}
		}
	}
}

func TestGuard_AllowsWhatIsAllowed(t *testing.T) {
	g := guard{allow: []Network{{Prefix: netip.MustParsePrefix("10.1.0.0/16")}, {Prefix: netip.MustParsePrefix("fd00::/8")}}}
	for address, want := range map[string]struct{ secure, inClear bool }{
		"8.8.8.8:443":            {true, false},
		"[2606:4700::1111]:80":   {true, false},
		"10.1.2.3:5000":          {true, true},
		"[::ffff:10.1.2.3]:5000": {true, true},
		"[fd00::1]:443":          {true, true},
		"[fd00::1%eth0]:443":     {false, false},
		"10.2.0.1:443":           {false, false},
		"127.0.0.1:443":          {false, false},
		"/run/docker.sock":       {false, false},
		"":                       {false, false},
	} {
		if secure, inClear := g.check(address, false) == nil, g.check(address, true) == nil; secure != want.secure || inClear != want.inClear {
			t.Errorf("%s: with TLS %v, in clear %v", address, secure, inClear)
		}
	}
}
