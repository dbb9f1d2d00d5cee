package upstream

import (
	"net/netip"
	"slices"
)

// metadataServers are the addresses at which clouds give credentials to their machines and
// containers. No upstream may have one, whatever Options.Allow says: only credential
// helpers reach them, by a client of their own (contract row T56).
var metadataServers = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), // most clouds
	netip.MustParseAddr("169.254.169.253"), // AWS: names
	netip.MustParseAddr("169.254.170.2"),   // AWS: tasks of ECS
	netip.MustParseAddr("169.254.170.23"),  // AWS: pods of EKS
	netip.MustParseAddr("169.254.0.23"),    // Tencent
	netip.MustParseAddr("168.63.129.16"),   // Azure's platform
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("192.0.0.192"),     // Oracle
	netip.MustParseAddr("fd00:ec2::253"),   // AWS, by IPv6
	netip.MustParseAddr("fd00:ec2::254"),
	netip.MustParseAddr("fd00:ec2::23"),
	netip.MustParseAddr("fd20:ce::254"),    // Google, by IPv6
	netip.MustParseAddr("fe80::a9fe:a9fe"), // OpenStack, by IPv6
}

// IsMetadata reports whether the address is that of a metadata server, in any of the ways
// in which an IPv6 address can name an IPv4 one.
func IsMetadata(addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	if addr.Is6() {
		b := addr.As16()
		v4 := netip.AddrFrom4([4]byte(b[12:])) // IPv4-compatible, translated, NAT64
		if slices.Contains(metadataServers, v4) && embedsIPv4(addr) {
			return true
		}
		if prefix6to4.Contains(addr) && slices.Contains(metadataServers, netip.AddrFrom4([4]byte(b[2:6]))) {
			return true
		}
	}
	return slices.Contains(metadataServers, addr)
}

var prefix6to4 = netip.MustParsePrefix("2002::/16")

func embedsIPv4(addr netip.Addr) bool {
	return slices.ContainsFunc([]netip.Prefix{
		netip.MustParsePrefix("::/96"), netip.MustParsePrefix("::ffff:0:0:0/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	}, func(p netip.Prefix) bool { return p.Contains(addr) })
}
