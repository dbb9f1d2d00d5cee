package conns

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits are the limits of a pool.
type Limits struct {
	Max     int            // connections at once
	Trusted []netip.Prefix // proxies, each of which carries many clients
	Peers   string         // the listener for processes of this deployment, without shares by address
}

// Pool is a bounded set of connections of some listeners. Once three quarters are in
// use, an address or network beyond its share loses an old connection for each new
// one; at the limit the origins with the largest weight do. It is safe for concurrent
// use.
type Pool struct {
	Limits
	set  *Set
	seen func(net.Addr) netip.Addr // whose connection it is

	mu      sync.Mutex
	conns   map[*Conn]struct{}
	buckets map[netip.Prefix]*bucket
	victims candidates // of all
	counts  counts
	full    time.Time // when one was last refused because the pool is full
}

// bucket has the connections of one address or network.
type bucket struct {
	conns   map[*Conn]struct{}
	victims candidates
}

// Why a connection is refused, or closed by the pool, as metrics call it.
const (
	refusedFull    = "full"    // and no connection can be closed
	refusedAddress = "address" // it, or its network, has more than its share, and nothing of it can be closed
	closedRoom     = "room"    // another needed its place
	closedSilent   = "silent"  // no request came
	closedIdle     = "idle"    // no other request came
)

func newPool(s *Set, l Limits) *Pool {
	return &Pool{Limits: l, set: s, seen: addressOf, conns: map[*Conn]struct{}{}, buckets: map[netip.Prefix]*bucket{}}
}

// admit adds a connection to the pool; nil if it is refused and closed.
func (p *Pool) admit(raw *net.TCPConn, listener string) *Conn {
	c := &Conn{TCPConn: raw, pool: p, listener: listener, opened: time.Now(), origin: p.originOf(raw.RemoteAddr())}
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

// makeRoom returns the connection to close for c, or why c is refused.
func (p *Pool) makeRoom(c *Conn) (*Conn, string) {
	now := c.opened
	if b := p.overShare(c); b != nil {
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

// overShare is what of c's origin has its share already, the narrowest; nil where c
// needs no place of its own origin.
func (p *Pool) overShare(c *Conn) *bucket {
	if c.listener == p.Peers || len(p.conns) < p.Max/4*3 {
		return nil
	}
	for i, n := range c.origin {
		if b := p.buckets[n]; b != nil && len(b.conns) >= p.share(i) {
			return b
		}
	}
	return nil
}

func (p *Pool) add(c *Conn) {
	p.conns[c] = struct{}{}
	p.counts.opened(c.listener, 1)
	for _, n := range c.origin {
		if !n.IsValid() {
			continue
		}
		b := p.buckets[n]
		if b == nil {
			b = &bucket{conns: map[*Conn]struct{}{}}
			p.buckets[n] = b
		}
		b.conns[c] = struct{}{}
	}
}

// drop removes a connection, once.
func (p *Pool) drop(c *Conn) {
	if _, held := p.conns[c]; !held {
		return
	}
	delete(p.conns, c)
	p.counts.opened(c.listener, -1)
	for _, n := range c.origin {
		if b := p.buckets[n]; b != nil {
			delete(b.conns, c)
			if len(b.conns) == 0 {
				delete(p.buckets, n)
			}
		}
	}
}

func (p *Pool) remove(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(c)
}

// relieve closes the least useful connection, if there is one.
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
