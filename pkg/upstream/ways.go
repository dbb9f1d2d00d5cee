package upstream

import (
	"crypto/x509"
	"net/http"
)

// way is what distinguishes the connections of upstreams: no connection serves two
// ways.
type way struct {
	tenant string // with networks or proxies of its own; else empty
	led    bool   // to hosts that responses name
	proxy  string
}

// sharedTransport is the transport of a way, with the number of clients that use it.
type sharedTransport struct {
	byScheme

	users int
}

// ways are the transports of a client.
type ways struct {
	named, led http.RoundTripper // to hosts that the configuration names, and that responses name
	held       []way
}

func (w ways) to(led bool) http.RoundTripper {
	if led {
		return w.led
	}
	return w.named
}

// open makes the transport of a way.
func (cs *Clients) open(w way) byScheme {
	g := cs.guard.of(w.tenant)
	if w.led {
		g = g.public()
	}
	return egress{guard: g, resolver: cs.resolver, limits: cs.limits, proxy: cs.route(w.tenant, w.proxy), roots: cs.roots}.transport()
}

// waysOf are the ways of a client of the configuration; release ends their use. The
// caller holds mu.
func (cs *Clients) waysOf(cfg Config) ways {
	named := way{tenant: cfg.Tenant, proxy: cfg.Proxy}
	if named == (way{tenant: cfg.Tenant}) {
		w := ways{named: cs.transport, led: cs.led}
		if own := cs.scoped[cfg.Tenant]; own != nil {
			w.named = own
		}
		return w
	}
	led := named
	led.led = true
	return ways{named: cs.hold(named), led: cs.hold(led), held: []way{named, led}}
}

func (cs *Clients) hold(w way) http.RoundTripper {
	shared := cs.ways[w]
	if shared == nil {
		shared = &sharedTransport{byScheme: cs.open(w)}
		cs.ways[w] = shared
	}
	shared.users++
	return shared
}

// release ends the use of the client's ways. Requests in flight go on. The caller holds
// the mu of the owner.
func (c *Client) release() {
	for _, w := range c.ways.held {
		shared := c.owner.ways[w]
		if shared.users--; shared.users == 0 {
			delete(c.owner.ways, w)
			shared.CloseIdleConnections()
		}
	}
}

// trusted are the certificates in PEM besides those of the pool; a nil pool is the
// system's.
func trusted(pool *x509.CertPool, more []byte) *x509.CertPool {
	if len(more) == 0 {
		return pool
	}
	if pool != nil {
		pool = pool.Clone()
	} else if system, err := x509.SystemCertPool(); err == nil {
		pool = system
	} else {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(more)
	return pool
}
