package conns

import (
	"net"
	"net/netip"
	"slices"
)

// origin is where a connection comes from, from narrow to wide: its address, which of
// IPv6 is a network of 64 bits, the least that a provider gives to one customer; what a
// customer may have besides, /56; and its network, /24 or /48. What does not count for
// it is not valid: all of a trusted proxy, which carries many clients; the networks of
// a private address, which tell no customers apart.
type origin [3]netip.Prefix

var (
	bitsOf4 = [len(origin{})]int{32, 0, 24} // 0: IPv4 has no such origin
	bitsOf6 = [len(origin{})]int{64, 56, 48}
)

// shareOf is the share that an address, a customer and a network have of a pool: one in
// so many. Several clients behind one address can work with it.
var shareOf = [len(origin{})]int{8, 4, 2}

const minShare = 8

func (p *Pool) share(level int) int { return max(p.Max/shareOf[level], minShare) }

// weigh says how much of the pool the origin of c takes beyond what is not counted,
// which is half of each share: there an address is that of several honest clients, as
// like as not, and must not weigh more than the many addresses of one attacker. What is
// beyond adds up, so that within a network the address that takes the most weighs most.
func (p *Pool) weigh(c *Conn) int {
	weight := 0
	for i, n := range c.origin {
		if b := p.buckets[n]; b != nil {
			weight += max(0, len(b.conns)-p.share(i)/2)
		}
	}
	return weight
}

// IsProxy says whether the connection comes from a trusted proxy.
func (c *Conn) IsProxy() bool { return !c.origin[0].IsValid() }

func addressOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

func (p *Pool) originOf(a net.Addr) origin {
	ip := p.seen(a)
	if !ip.IsValid() || slices.ContainsFunc(p.Trusted, func(n netip.Prefix) bool { return n.Contains(ip) }) {
		return origin{}
	}
	bits := bitsOf6
	if ip.Is4() {
		bits = bitsOf4
	}
	private := ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || carrierNAT.Contains(ip)
	var o origin
	for level, n := range bits {
		if n > 0 && (level == 0 || !private) {
			o[level], _ = ip.Prefix(n) // of a valid address it is valid
		}
	}
	return o
}

// carrierNAT is RFC 6598.
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")
