package conns

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// How long to wait before accepting again when no descriptor is left: after one was
// given back, and when none could be.
const (
	shortWait = 5 * time.Millisecond
	longWait  = 100 * time.Millisecond
)

// Listen takes connections of l, which is a TCP listener, into the pool. The name is
// the listener's in metrics.
func (p *Pool) Listen(l net.Listener, name string) net.Listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.add(name)
	return listener{l, p, name}
}

type listener struct {
	net.Listener
	pool *Pool
	name string
}

// Accept returns the next admitted connection. It does not return an error when no
// descriptor is left: servers would sleep for up to a second, and log a line each
// time.
func (l listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			l.pool.short(l.name)
			continue
		}
		if err != nil {
			return nil, err
		}
		tcp, ok := raw.(*net.TCPConn)
		if !ok {
			return raw, nil
		}
		if c := l.pool.admit(tcp, l.name); c != nil {
			return c, nil
		}
	}
}

// short gives a descriptor back, and waits until there may be one.
func (p *Pool) short(listener string) {
	p.mu.Lock()
	p.counts.refused(listener, refusedDescriptors)
	p.mu.Unlock()
	wait := longWait
	if p.set.relieve() {
		wait = shortWait
	}
	<-time.After(wait) // no event signals a free descriptor
}

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

// IsProxy reports whether the connection comes from a trusted proxy.
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
