package conns

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// How few connections an address may be left with: a share of the pool, which
// several clients behind one address can work with.
const (
	shareOf  = 8 // one in so many
	minShare = 8
)

// Limits are those of a pool.
type Limits struct {
	Max     int            // connections at once
	Trusted []netip.Prefix // proxies, each of which carries many clients
	Peers   bool           // all that come here are processes of this deployment: no address has a share
}

// Pool is what some listeners share. It never holds more than its limit. Once three
// quarters are in use, an address that has more than an eighth of the pool loses an
// old connection for each new one; at the limit the address with the most does. It
// is safe for concurrent use.
type Pool struct {
	Limits
	set *Set

	mu      sync.Mutex
	conns   map[*Conn]struct{}
	buckets map[netip.Prefix]*bucket
	victims candidates // of all
	counts  counts
	full    time.Time // when one was last refused because the pool is full
}

// bucket is what one address has.
type bucket struct {
	conns   map[*Conn]struct{}
	victims candidates
}

// Why a connection is refused, or closed by the pool, as metrics call it.
const (
	refusedFull    = "full"    // and nothing can be closed
	refusedAddress = "address" // more than its share, and nothing of it can be closed
	closedRoom     = "room"    // another needed its place
	closedSilent   = "silent"  // no request came
	closedIdle     = "idle"    // no other request came
)

func newPool(s *Set, l Limits) *Pool {
	return &Pool{Limits: l, set: s, conns: map[*Conn]struct{}{}, buckets: map[netip.Prefix]*bucket{}}
}

// admit takes a connection in; nil where it is refused and closed.
func (p *Pool) admit(raw *net.TCPConn, listener string) *Conn {
	c := &Conn{TCPConn: raw, pool: p, listener: listener, opened: time.Now(), address: p.addressOf(raw.RemoteAddr())}
	p.mu.Lock()
	victim, refused := p.makeRoom(c)
	if refused == "" {
		p.add(c)
	} else {
		p.counts.refused(listener, refused)
	}
	if victim != nil {
		p.counts.closed(victim.listener, closedRoom)
	}
	p.mu.Unlock()
	if victim != nil {
		victim.cut()
	}
	if refused == refusedFull {
		p.set.relieveOthers() // for the next
	}
	if refused != "" {
		_ = raw.SetLinger(0) // else it closes as usual
		_ = raw.Close()      // it is of no use
		return nil
	}
	return c
}

// makeRoom returns what must be closed for c, or why c is refused.
func (p *Pool) makeRoom(c *Conn) (*Conn, string) {
	now := c.opened
	if b := p.buckets[c.address]; b != nil && !p.Peers && len(p.conns) >= p.Max/4*3 && len(b.conns) >= p.share() {
		victim := b.victims.next(now, b.conns, p.weigh)
		if victim == nil {
			return nil, refusedAddress
		}
		p.drop(victim)
		return victim, ""
	}
	if len(p.conns) < p.Max {
		return nil, ""
	}
	victim := p.victims.next(now, p.conns, p.weigh)
	if victim == nil {
		p.full = now
		return nil, refusedFull
	}
	p.drop(victim)
	return victim, ""
}

func (p *Pool) share() int { return max(p.Max/shareOf, minShare) }

// weigh is how many connections the address of c has.
func (p *Pool) weigh(c *Conn) int {
	if b := p.buckets[c.address]; b != nil {
		return len(b.conns)
	}
	return 1
}

func (p *Pool) add(c *Conn) {
	p.conns[c] = struct{}{}
	p.counts.opened(c.listener, 1)
	if !c.address.IsValid() {
		return
	}
	b := p.buckets[c.address]
	if b == nil {
		b = &bucket{conns: map[*Conn]struct{}{}}
		p.buckets[c.address] = b
	}
	b.conns[c] = struct{}{}
}

// drop takes a connection out, once.
func (p *Pool) drop(c *Conn) {
	if _, held := p.conns[c]; !held {
		return
	}
	delete(p.conns, c)
	p.counts.opened(c.listener, -1)
	if b := p.buckets[c.address]; b != nil {
		delete(b.conns, c)
		if len(b.conns) == 0 {
			delete(p.buckets, c.address)
		}
	}
}

func (p *Pool) remove(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(c)
}

// relieve closes the connection that is missed least. It says whether there was one.
func (p *Pool) relieve() bool {
	p.mu.Lock()
	victim := p.victims.next(time.Now(), p.conns, p.weigh)
	if victim != nil {
		p.drop(victim)
		p.counts.closed(victim.listener, closedRoom)
	}
	p.mu.Unlock()
	if victim == nil {
		return false
	}
	victim.cut()
	return true
}

// addressOf is what counts as one address: that of IPv4, a network of 64 bits of IPv6,
// which is the least that a provider gives to one customer. It is not valid for a
// trusted proxy's.
func (p *Pool) addressOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if slices.ContainsFunc(p.Trusted, func(n netip.Prefix) bool { return n.Contains(ip) }) {
		return netip.Prefix{}
	}
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	network, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return network
}
