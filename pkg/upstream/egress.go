package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
)

// egress is a way out of this process: where it may lead, through which proxy, and
// what TLS trusts.
type egress struct {
	guard    guard
	resolver *net.Resolver
	limits   limits
	proxy    func(*url.URL) (*proxy, error) // of a request; a nil function: none
	roots    func() *x509.CertPool          // that the next connection trusts

	certificate *tls.Certificate // for servers that want one; nil: none
}

// dial connects to an upstream; inClear is without TLS.
func (e egress) dial(ctx context.Context, address string, inClear bool) (net.Conn, error) {
	scheme := "https"
	if inClear {
		scheme = "http"
	}
	var by *proxy
	if e.proxy != nil {
		var err error
		if by, err = e.proxy(&url.URL{Scheme: scheme, Host: address}); err != nil {
			return nil, err
		}
	}
	if by == nil {
		return e.guard.dialer(e.resolver, e.limits.dial, inClear).DialContext(ctx, "tcp", address)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*e.limits.dial) // to the proxy, and from there
	defer cancel()
	dialer := &net.Dialer{Resolver: e.resolver}
	if by.resolves {
		if err := e.guard.permitsName(hostOf(address), inClear); err != nil {
			return nil, err
		}
		return by.connect(ctx, dialer, address, byName(address))
	}
	addrs, err := e.permitted(ctx, address, inClear)
	if err != nil {
		return nil, err
	}
	for _, at := range addrs {
		var conn net.Conn
		if conn, err = by.connect(ctx, dialer, at.String(), net.TCPAddrFromAddrPort(at)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// maxTargets is how many addresses of a name a proxy is asked to connect to.
const maxTargets = 4

// permitted resolves the address, and returns what the guard permits of it: the only
// addresses that a proxy is told.
func (e egress) permitted(ctx context.Context, address string, inClear bool) ([]netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", errForbidden, address)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", errForbidden, address)
	}
	found, err := e.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	// Many proxies have no IPv6.
	slices.SortStableFunc(found, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() })
	var permitted []netip.AddrPort
	for _, addr := range found {
		at := netip.AddrPortFrom(addr.Unmap(), uint16(port))
		if refused := e.guard.permits(at, inClear); refused != nil {
			err = refused
			continue
		}
		permitted = append(permitted, at)
	}
	if len(permitted) == 0 {
		return nil, err
	}
	return permitted[:min(len(permitted), maxTargets)], nil
}

// hostOf is the host of "host:port", without brackets.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// isInside reports whether a connection leads into a network that is not public. What
// a proxy resolves is never taken for one: the guard refuses the names of such
// networks.
func isInside(conn net.Conn) bool {
	peer := conn.RemoteAddr()
	if _, named := peer.(byName); named {
		return false
	}
	at, err := netip.ParseAddrPort(peer.String())
	return err != nil || !isPublic(at.Addr())
}

// errNoProxy is the cause for an upstream whose proxy the operator does not name, or
// no longer.
var errNoProxy = fmt.Errorf("the upstream's proxy is not configured: %w", errForbidden)

// route returns the proxies of the requests of an upstream of the tenant: the one that it
// chooses by name, or else those of Options.Environment.
func (cs *Clients) route(tenant, name string) func(*url.URL) (*proxy, error) {
	if name == "" {
		return func(u *url.URL) (*proxy, error) {
			at, err := cs.environment(u)
			if err != nil {
				return nil, errors.Join(errProxy, err)
			}
			return newProxy(at, cs.roots), nil
		}
	}
	chosen, err := cs.chosen(tenant, name)
	return func(*url.URL) (*proxy, error) { return chosen, err }
}

// chosen is the proxy of that name. The tenant's own takes precedence.
func (cs *Clients) chosen(tenant, name string) (*proxy, error) {
	for _, owner := range []string{tenant, ""} {
		i := slices.IndexFunc(cs.proxies, func(p Proxy) bool { return p.Tenant == owner && p.Name == name })
		if i < 0 {
			continue
		}
		at, err := url.Parse(cs.proxies[i].URL)
		if err != nil {
			return nil, errors.Join(errProxy, err)
		}
		return newProxy(at, cs.roots), nil
	}
	return nil, errNoProxy
}
