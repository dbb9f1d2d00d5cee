// Package upstream pulls from remote OCI registries: challenge and token,
// redirects, limits, and a dialer that never leads into an internal network.
//
// Responses of upstreams are not trusted. Sizes and times are bounded, a credential
// goes only to hosts it is for, and any response that is not clearly "found", "not
// here" or "denied" is an outage, which must never count as an absence.
package upstream

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http/httpproxy"

	"github.com/berth-registry/berth/pkg/credential"
	"github.com/berth-registry/berth/pkg/fairgate"
)

// mostClients is how many clients are kept; the least recently used is dropped
// first, with its tokens and metrics.
const mostClients = 4096

// Options are the settings of all upstreams of a process. The zero value allows
// only public addresses.
type Options struct {
	Allow    []Network             // networks that are not public and may contain upstreams
	Own      AddressSet            // listeners of this process: always refused
	Servers  AddressSet            // servers of this deployment: refused in networks that are not public
	Helpers  credential.Helpers    // of the operator
	Metrics  prometheus.Registerer // may be nil; takes the metrics of one Clients only
	Log      *slog.Logger          // nil: nothing is logged
	Resolver *net.Resolver         // nil: the system's
	Patience time.Duration         // how long an upstream may take for its next step; 0: 30 seconds

	Proxies     []Proxy          // that upstreams choose by name
	Environment httpproxy.Config // proxies for upstreams that choose none; their URLs as Proxy has them
	Deny        []string         // names that a proxy must not resolve; "*.DOMAIN" is all below one

	// Authorities are certificates in PEM that are trusted besides those of the system, by
	// connections that are made from now on; nil for none. It is called for each of them, and
	// must be safe for concurrent use.
	Authorities func() []byte
}

// AddressSet reports whether it contains an address; nil contains none. It is
// called for every connection and must be safe for concurrent use.
type AddressSet func(netip.AddrPort) bool

func (s AddressSet) has(at netip.AddrPort) bool { return s != nil && s(at) }

// Clients owns the guarded connections and metrics that upstreams share. There is
// one per process. It is safe for concurrent use.
type Clients struct {
	transport http.RoundTripper            // to configured upstreams
	scoped    map[string]http.RoundTripper // likewise, for tenants with networks of their own
	led       http.RoundTripper            // to hosts that responses name: only public addresses
	ways      map[way]*sharedTransport     // of upstreams with settings of their own
	helpers   credential.Helpers
	guard     guard
	proxies   []Proxy

	environment func(*url.URL) (*url.URL, error) // the proxy of a URL
	authorities func() []byte                    // Options.Authorities
	roots       func() *x509.CertPool            // that proxies may have certificates of

	resolver *net.Resolver
	limits   limits
	metrics  *metrics
	log      *slog.Logger
	large    *fairgate.Gate[string] // of large documents in memory, by tenant
	budgets  budgets
	ecrURL   string // of ECR's API; empty: that of AWS

	mu    sync.Mutex
	known *lru.Cache[string, *Client]
}

// New makes the one Clients of a process.
func New(o Options) *Clients {
	l := defaultLimits()
	if o.Patience > 0 {
		l = l.with(Limits{Response: o.Patience, Progress: o.Patience})
	}
	return newClients(o, l)
}

func newClients(o Options, l limits) *Clients {
	known := newLRU(mostClients, func(_ string, c *Client) {
		c.series.forget()
		c.release()
	})
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cs := &Clients{
		scoped:      map[string]http.RoundTripper{},
		ways:        map[way]*sharedTransport{},
		helpers:     o.Helpers,
		guard:       guard{allow: o.Allow, own: o.Own, servers: o.Servers, deny: o.Deny},
		proxies:     o.Proxies,
		environment: o.Environment.ProxyFunc(),
		authorities: o.Authorities,
		roots:       (&roots{deployment: o.Authorities}).pool,
		resolver:    o.Resolver,
		limits:      l,
		large:       l.gateOfLarge(),
		budgets:     newBudgets(),
		metrics:     newMetrics(o.Metrics),
		log:         log,
		known:       known,
	}
	if cs.resolver == nil {
		cs.resolver = net.DefaultResolver
	}
	cs.transport, cs.led = cs.egress(way{}).transport(), cs.egress(way{led: true}).transport()
	// A kept connection that was allowed to one tenant must not serve another tenant.
	for _, n := range o.Allow {
		if n.Tenant != "" && cs.scoped[n.Tenant] == nil {
			cs.scoped[n.Tenant] = cs.egress(way{tenant: n.Tenant}).transport()
		}
	}
	return cs
}

// Helper returns the operator's credential helper of that name, if it is granted to the
// tenant, by its slug, for the registry at the URL. Errors are of kind fault.Invalid, and
// name the field "credential_helper" or "url".
func (cs *Clients) Helper(name, tenant, raw string) (*credential.Helper, error) {
	u, err := baseURL(raw)
	if err != nil {
		return nil, err
	}
	return cs.helpers.Find(name, tenant, u)
}

// CheckHelper is Helper, for its error only.
func (cs *Clients) CheckHelper(name, tenant, raw string) error {
	_, err := cs.Helper(name, tenant, raw)
	return err
}

// Client returns the client of a configured upstream, the same one for the same
// Config, so that its tokens, rate and health are kept. For an invalid URL it
// returns the error of CheckURL.
func (cs *Clients) Client(cfg Config) (*Client, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	before, ok := cs.known.Get(cfg.Key)
	if ok && before.config.equal(cfg) {
		return before, nil
	}
	c, err := newClient(cs, cfg)
	if err != nil {
		return nil, err
	}
	if ok {
		before.release()
	}
	cs.known.Add(cfg.Key, c)
	return c, nil
}

// Large returns the statistics of large documents that waited for a place.
func (cs *Clients) Large() fairgate.Stats { return cs.large.Stats() }

type hopsKey struct{}

// WithHops sets the hops of the request of ctx, as ocihttp.ParseHops reads them.
// Upstreams are sent n+1; from ocihttp.MaxHops on none is asked. So a loop of chains
// through public host names ends (contract E12).
func WithHops(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, hopsKey{}, n)
}

func hopsOf(ctx context.Context) int {
	n, _ := ctx.Value(hopsKey{}).(int)
	return n
}
