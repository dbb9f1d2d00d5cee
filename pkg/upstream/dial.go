package upstream

import (
	"context"
	"net"
)

// Dial connects a tenant, by its slug, to host:port.
type Dial func(ctx context.Context, tenant, network, address string, inClear bool) (net.Conn, error)

// NewDial makes a Dial for other protocols than that of registries. It connects to the
// addresses that upstreams of the tenant may be at, directly. Of the options only those of
// addresses count.
func NewDial(o Options) Dial {
	g := guard{allow: o.Allow, own: o.Own, servers: o.Servers, deny: o.Deny}
	resolver := o.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	timeout := defaultLimits().dial
	return func(ctx context.Context, tenant, network, address string, inClear bool) (net.Conn, error) {
		return g.of(tenant).dialer(resolver, timeout, inClear).DialContext(ctx, network, address)
	}
}
