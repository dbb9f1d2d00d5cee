package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// guard decides which addresses may be connected to.
type guard struct {
	allow        []Network
	own, servers AddressSet
	deny         []string // names that a proxy must not resolve
	tenant       string   // owner of the upstream; empty if no network is allowed to it alone
}

// of is the guard of one tenant's upstreams.
func (g guard) of(tenant string) guard {
	g.tenant = tenant
	return g
}

// public is the guard of hosts that upstreams redirect to. Only configured
// upstreams may be in networks that are not public, never a host that a response
// names (contract row S69).
func (g guard) public() guard {
	g.allow = nil
	return g
}

// The causes of a refused connection.
var (
	errForbidden = errors.New("upstreams are connected to at public addresses by https, and in the networks of upstream_allow")
	errOwn       = fmt.Errorf("upstreams are not this deployment itself: %w", errForbidden)
	errInClear   = fmt.Errorf("http is for the networks of upstream_allow: %w", errForbidden)

	// Those of names that a proxy would resolve.
	errName        = fmt.Errorf("proxies resolve public names only: %w", errForbidden)
	errClearByName = fmt.Errorf("http is not for proxies that resolve names: %w", errForbidden)
)

// check gets each address just before a socket connects to it, so that no name is
// resolved again after it (contract E1, E2). Connections without TLS need an
// allowed network: credentials and images must not cross public ones in clear.
func (g guard) check(address string, inClear bool) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", errForbidden, address)
	}
	return g.permits(ap, inClear)
}

// permits is check for a parsed address. Addresses of this deployment are refused
// whatever is allowed. If another rule refuses them too, the error is that of the rule:
// it must not tell tenants where the deployment is.
func (g guard) permits(at netip.AddrPort, inClear bool) error {
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	public := isPublic(at.Addr())
	own := g.own.has(at) || !public && g.servers.has(at)
	allowed := slices.ContainsFunc(g.allow, func(n Network) bool { return n.has(g.tenant, at) })
	switch {
	case IsMetadata(at.Addr()):
		return fmt.Errorf("%w: %s is a metadata server", errForbidden, at)
	case own && (public || allowed):
		return fmt.Errorf("%w: %s", errOwn, at)
	case own:
		return fmt.Errorf("%w: %s belongs to this deployment", errForbidden, at)
	case allowed:
		return nil
	case !public:
		return fmt.Errorf("%w: %s", errForbidden, at)
	case inClear:
		return fmt.Errorf("%w: %s", errInClear, at)
	default:
		return nil
	}
}

// permitsName checks a host that a proxy would resolve, so that its addresses cannot be
// checked. The networks of upstream_allow are those of this process, not of the proxy:
// no address is permitted, and nothing without TLS.
func (g guard) permitsName(host string, inClear bool) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return fmt.Errorf("%w: %s is an address", errName, host)
	}
	local := host == "localhost" || strings.HasSuffix(host, ".localhost") || !strings.Contains(host, ".")
	if local || slices.ContainsFunc(g.deny, func(pattern string) bool { return matchesHost(pattern, host) }) {
		return fmt.Errorf("%w: %s", errName, host)
	}
	if inClear {
		return fmt.Errorf("%w: %s", errClearByName, host)
	}
	return nil
}

// matchesHost compares a host with a name, or with "*.DOMAIN" for all names below the
// domain.
func matchesHost(pattern, host string) bool {
	if domain, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasPrefix(domain, ".") && strings.HasSuffix(host, domain)
	}
	return pattern == host
}

func (g guard) dialer(resolver *net.Resolver, timeout time.Duration, inClear bool) *net.Dialer {
	return &net.Dialer{
		Timeout:  timeout,
		Resolver: resolver,
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			if network != "tcp4" && network != "tcp6" {
				return fmt.Errorf("%w: %s", errForbidden, network)
			}
			return g.check(address, inClear)
		},
	}
}

// public is the global unicast range of IPv6 (RFC 4291, section 2.4); IPv4
// addresses are public unless special lists them.
var public = netip.MustParsePrefix("2000::/3")

// special are the networks that are not public, or lead to such networks (IANA's
// special-purpose address registries), and the metadata addresses of clouds.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),        // this network; Linux connects to itself
	netip.MustParsePrefix("10.0.0.0/8"),       // private
	netip.MustParsePrefix("100.64.0.0/10"),    // carriers' shared addresses; Alibaba's metadata
	netip.MustParsePrefix("127.0.0.0/8"),      // loopback
	netip.MustParsePrefix("168.63.129.16/32"), // Azure's platform
	netip.MustParsePrefix("169.254.0.0/16"),   // link-local; metadata of most clouds
	netip.MustParsePrefix("172.16.0.0/12"),    // private
	netip.MustParsePrefix("192.0.0.0/24"),     // protocol assignments; Oracle's metadata
	netip.MustParsePrefix("192.0.2.0/24"),     // documentation
	netip.MustParsePrefix("192.31.196.0/24"),  // AS112
	netip.MustParsePrefix("192.52.193.0/24"),  // AMT
	netip.MustParsePrefix("192.88.99.0/24"),   // 6to4 relays
	netip.MustParsePrefix("192.168.0.0/16"),   // private
	netip.MustParsePrefix("192.175.48.0/24"),  // AS112
	netip.MustParsePrefix("198.18.0.0/15"),    // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"),  // documentation
	netip.MustParsePrefix("203.0.113.0/24"),   // documentation
	netip.MustParsePrefix("224.0.0.0/4"),      // multicast
	netip.MustParsePrefix("240.0.0.0/4"),      // reserved; broadcast

	netip.MustParsePrefix("::/96"),           // unspecified, loopback, IPv4-compatible
	netip.MustParsePrefix("::ffff:0:0:0/96"), // IPv4-translated
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64: any IPv4 address
	netip.MustParsePrefix("64:ff9b:1::/48"),  // NAT64, local use
	netip.MustParsePrefix("100::/64"),        // discard
	netip.MustParsePrefix("2001::/23"),       // protocol assignments: Teredo, ORCHID, benchmarks
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4: any IPv4 address
	netip.MustParsePrefix("3fff::/20"),       // documentation
	netip.MustParsePrefix("5f00::/16"),       // segment routing
	netip.MustParsePrefix("fc00::/7"),        // unique local; AWS's metadata
	netip.MustParsePrefix("fe80::/10"),       // link-local
	netip.MustParsePrefix("fec0::/10"),       // site-local
	netip.MustParsePrefix("ff00::/8"),        // multicast
}

// isPublic reports whether the address is routed on the public internet. An
// IPv4-mapped IPv6 address counts as IPv4.
func isPublic(addr netip.Addr) bool {
	if addr.Zone() != "" {
		return false
	}
	addr = addr.Unmap()
	if !addr.Is4() && !public.Contains(addr) {
		return false
	}
	return !slices.ContainsFunc(special, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// Network is a network that is not public and may contain upstreams.
type Network struct {
	Tenant string // slug of the only tenant that may use it; empty for all
	Prefix netip.Prefix
	Ports  []uint16 // nil for all
}

func (n Network) has(tenant string, at netip.AddrPort) bool {
	return (n.Tenant == "" || n.Tenant == tenant) && n.Prefix.Contains(at.Addr()) && (n.Ports == nil || slices.Contains(n.Ports, at.Port()))
}
