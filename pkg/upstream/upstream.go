// Package upstream pulls from remote OCI registries: challenge and token,
// redirects, limits, and a dialer that never leads into an internal network.
//
// What an upstream sends is the word of a stranger. Sizes and times are bounded,
// a credential stays where it belongs, and whatever is not clearly "found", "not
// here" or "denied" is an outage, which must never be taken for an absence.
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

// mostClients is how many clients are kept; the one unused for longest goes
// first, with its tokens and metrics.
const mostClients = 4096

// Options are what all upstreams of a process have in common. The zero value
// works: only public addresses are connected to.
type Options struct {
	Allow    []Network             // networks that are not public, where upstreams may be nevertheless
	Own      AddressSet            // where this process itself listens: never connected to
	Servers  AddressSet            // where servers of this deployment are: not connected to in networks that are not public
	Metrics  prometheus.Registerer // may be nil; takes the metrics of one Clients only
	Log      *slog.Logger          // nil: nothing is logged
	Resolver *net.Resolver         // nil: the system's
	Patience time.Duration         // how long an upstream may take for its next step; 0: 30 seconds
}

// AddressSet says whether it holds an address; nil holds none. It is asked with
// every connection and must be safe for concurrent use.
type AddressSet func(netip.AddrPort) bool

func (s AddressSet) has(at netip.AddrPort) bool { return s != nil && s(at) }

// Clients owns what upstreams share: the guarded connections and the metrics.
// There is one per process. It is safe for concurrent use.
type Clients struct {
	transport http.RoundTripper            // to where upstreams are configured to be
	scoped    map[string]http.RoundTripper // likewise, of tenants that have networks of their own
	led       http.RoundTripper            // to where answers lead: public addresses alone
	guard     guard
	resolver  *net.Resolver
	limits    limits
	metrics   *metrics
	log       *slog.Logger
	large     *fairgate.Gate[string] // of large documents in memory, by tenant
	ecrURL    string                 // where the API of ECR is asked for passwords; empty: where AWS has it

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
	// A connection that is kept was let through for one tenant, and must not serve
	// another that it would not have been let through for.
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
// Config, so that its tokens, its pace and what is known of its health last. A
// URL that can never be used is of kind fault.Invalid, as CheckURL says it.
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

// Large tells what became of large documents that waited for others to be read.
func (cs *Clients) Large() fairgate.Stats { return cs.large.Stats() }

// transportOf is what a tenant's requests leave through; led are those to a host
// that an answer names, and not the upstream's configuration.
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

// WithHops says that the request which ctx belongs to came with n hops behind
// it, as ocihttp.ParseHops reads them: upstreams are sent n+1, and from
// ocihttp.MaxHops on no upstream is asked, so that a chain which comes back to itself
// by public host names ends (contract E12).
func WithHops(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, hopsKey{}, n)
}

func hopsOf(ctx context.Context) int {
	n, _ := ctx.Value(hopsKey{}).(int)
	return n
}
