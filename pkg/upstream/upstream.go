// Package upstream pulls from remote OCI registries: challenge and token,
// redirects, limits, and a dialer that never leads into an internal network.
//
// Responses of upstreams are not trusted. Sizes and times are bounded, a credential
// goes only to hosts it is for, and any response that is not clearly "found", "not
// here" or "denied" is an outage, which must never count as an absence.
package upstream

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"

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
	Metrics  prometheus.Registerer // may be nil; takes the metrics of one Clients only
	Log      *slog.Logger          // nil: nothing is logged
	Resolver *net.Resolver         // nil: the system's
	Patience time.Duration         // how long an upstream may take for its next step; 0: 30 seconds
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
	guard     guard
	resolver  *net.Resolver
	limits    limits
	metrics   *metrics
	log       *slog.Logger
	large     *fairgate.Gate[string] // of large documents in memory, by tenant
	ecrURL    string                 // of ECR's API; empty: that of AWS

	mu    sync.Mutex
	known *lru.Cache[string, *Client]
}

// New makes the one Clients of a process.
func New(o Options) *Clients {
	l := defaultLimits()
	if o.Patience > 0 {
		l.answer, l.window, l.token = o.Patience, o.Patience, o.Patience
		l.windowBytes = int64(max(1, o.Patience.Seconds()*(1<<10))) // still 1 KiB/s
	}
	return newClients(o, l)
}

func newClients(o Options, l limits) *Clients {
	known, err := lru.NewWithEvict(mostClients, func(_ string, c *Client) { c.series.forget() })
	if err != nil {
		panic("upstream: " + err.Error()) // only a size below 1 is refused
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	g, resolver := guard{allow: o.Allow, own: o.Own, servers: o.Servers}, o.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	// A kept connection that was allowed to one tenant must not serve another tenant.
	scoped := map[string]http.RoundTripper{}
	for _, n := range o.Allow {
		if n.Tenant != "" && scoped[n.Tenant] == nil {
			scoped[n.Tenant] = newTransport(g.of(n.Tenant), resolver, l, nil)
		}
	}
	return &Clients{
		transport: newTransport(g, resolver, l, nil),
		scoped:    scoped,
		led:       newTransport(g.public(), resolver, l, nil),
		guard:     g,
		resolver:  resolver,
		limits:    l,
		large:     l.gateOfLarge(),
		metrics:   newMetrics(o.Metrics),
		log:       log,
		known:     known,
	}
}

// Client returns the client of a configured upstream, the same one for the same
// Config, so that its tokens, rate and health are kept. For an invalid URL it
// returns the error of CheckURL.
func (cs *Clients) Client(cfg Config) (*Client, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c, ok := cs.known.Get(cfg.Key); ok && c.config.equal(cfg) {
		return c, nil
	}
	c, err := newClient(cs, cfg)
	if err != nil {
		return nil, err
	}
	cs.known.Add(cfg.Key, c)
	return c, nil
}

func (c Config) equal(d Config) bool {
	return c.Key == d.Key && c.Tenant == d.Tenant && c.Upstream == d.Upstream && c.URL == d.URL &&
		c.Username == d.Username && c.Password == d.Password && slices.Equal(c.AuthHosts, d.AuthHosts) && c.TrustNotFound == d.TrustNotFound
}

// Large returns the statistics of large documents that waited for a place.
func (cs *Clients) Large() fairgate.Stats { return cs.large.Stats() }

// transportOf is the transport of a tenant's requests; led requests go to a host
// that a response names, not the configuration.
func (cs *Clients) transportOf(tenant string, led bool) http.RoundTripper {
	if led {
		return cs.led
	}
	if own := cs.scoped[tenant]; own != nil {
		return own
	}
	return cs.transport
}

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
