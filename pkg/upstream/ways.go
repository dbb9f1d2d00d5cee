package upstream

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// way is what distinguishes the connections of upstreams: no connection serves two
// ways.
type way struct {
	tenant    string // with networks or proxies of its own; else empty
	led       bool   // to hosts that responses name
	proxy     string
	ca        string
	cert, key string
	connect   time.Duration
}

// sharedTransport is the transport of a way, with the number of clients that use it.
type sharedTransport struct {
	byScheme

	users int
}

// ways are the transports of a client: to its own hosts, which get the client
// certificate, to others that the configuration names, and to those that responses name.
type ways struct {
	own, named, led http.RoundTripper
	held            []way
}

// transport is for a request to u; led as in outRequest.
func (c *Client) transport(u *url.URL, led bool) http.RoundTripper {
	switch {
	case led:
		return c.ways.led
	case c.config.ClientCertificate != "" && (sameOrigin(u, c.base) || !c.spare && slices.ContainsFunc(c.config.AuthHosts, isHost(u))):
		return c.ways.own
	default:
		return c.ways.named
	}
}

// egress is the egress of a way, without its client certificate.
func (cs *Clients) egress(w way) egress {
	e := egress{
		guard: cs.guard.of(w.tenant), resolver: cs.resolver, limits: cs.limits.with(Limits{Connect: w.connect}),
		proxy: cs.route(w.tenant, w.proxy), roots: (&roots{deployment: cs.authorities, own: w.ca}).pool,
	}
	if w.led {
		e.guard = e.guard.public()
	}
	return e
}

// open makes the transport of a way.
func (cs *Clients) open(w way) (byScheme, error) {
	e := cs.egress(w)
	if w.cert != "" {
		pair, err := tls.X509KeyPair([]byte(w.cert), []byte(w.key))
		if err != nil {
			return byScheme{}, fault.Wrap(err, fault.Invalid, fault.RequestInvalid, "the client certificate and its key do not belong together").WithField("client_certificate")
		}
		e.certificate = &pair
	}
	return e.transport(), nil
}

// waysOf are the ways of a client of the configuration; release ends their use. The
// caller holds mu.
func (cs *Clients) waysOf(cfg Config) (ways, error) {
	named := way{tenant: cfg.Tenant, proxy: cfg.Proxy, ca: cfg.CA, connect: cfg.Limits.Connect}
	var w ways
	if named == (way{tenant: cfg.Tenant}) {
		w.named, w.led = cs.transport, cs.led
		if own := cs.scoped[cfg.Tenant]; own != nil {
			w.named = own
		}
	} else {
		led := named
		led.led = true
		for _, one := range []struct {
			way way
			to  *http.RoundTripper
		}{{named, &w.named}, {led, &w.led}} {
			if err := cs.hold(one.way, &w, one.to); err != nil {
				return ways{}, err
			}
		}
	}
	if cfg.ClientCertificate != "" {
		own := named
		own.cert, own.key = cfg.ClientCertificate, cfg.ClientKey
		if err := cs.hold(own, &w, &w.own); err != nil {
			cs.letGo(w.held)
			return ways{}, err
		}
	}
	return w, nil
}

// hold sets the transport of a way, which the ways of a client then use.
func (cs *Clients) hold(w way, by *ways, to *http.RoundTripper) error {
	shared := cs.ways[w]
	if shared == nil {
		opened, err := cs.open(w)
		if err != nil {
			return err
		}
		shared = &sharedTransport{byScheme: opened}
		cs.ways[w] = shared
	}
	shared.users++
	by.held = append(by.held, w)
	*to = shared
	return nil
}

// release ends the use of the client's ways; requests in flight end by themselves. The
// caller holds the mu of the owner.
func (c *Client) release() {
	c.owner.letGo(c.ways.held)
	for _, other := range c.others {
		other.release()
	}
}

func (cs *Clients) letGo(held []way) {
	for _, w := range held {
		shared := cs.ways[w]
		if shared.users--; shared.users == 0 {
			delete(cs.ways, w)
			shared.CloseIdleConnections()
		}
	}
}
