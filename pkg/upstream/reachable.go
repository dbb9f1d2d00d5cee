package upstream

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// lookupPatience is how long CheckAddress waits for a name's addresses.
const lookupPatience = 2 * time.Second

// refusal says which rule refuses an address, without the address: tenants must not
// learn what names resolve to in this network.
func refusal(cause error) string {
	switch {
	case errors.Is(cause, errInClear):
		return "http is for networks that the operator's upstream_allow names; use https"
	case errors.Is(cause, errNoProxy):
		return "its proxy is not one that the operator's upstream_proxies names for this tenant"
	case errors.Is(cause, errClearByName):
		return "http is not for a proxy that resolves names, since its addresses cannot be checked; use https"
	case errors.Is(cause, errName):
		return "its proxy resolves names, so its host must be a name that upstream_deny does not match, and no address, localhost or name without a dot"
	case errors.Is(cause, errOwn):
		return "its address belongs to this deployment, whatever upstream_allow says; registries are members of a group by themselves"
	}
	return "its address is in a network that is not public; the operator's upstream_allow must name it, and its port"
}

// CheckAddress is CheckURL, and also refuses a URL whose host is a forbidden
// address, or a name with only forbidden addresses. A name that cannot be resolved
// in a short time is not an error. It does not connect, so the result does not show
// which ports are open (contract E1); each connection checks the address again (E2).
// tenant is the slug of the upstream's tenant, proxy the name of the proxy that the upstream
// chooses; an unknown one is fault.Invalid with the field "proxy".
func (cs *Clients) CheckAddress(ctx context.Context, tenant, proxy, raw string) error {
	u, err := baseURL(raw)
	if err != nil {
		return err
	}
	by, err := cs.route(tenant, proxy)(u)
	if errors.Is(err, errNoProxy) {
		return fault.Wrap(err, fault.Invalid, fault.RequestInvalid,
			"%q is not a proxy that the operator's upstream_proxies names for this tenant", proxy).WithField("proxy")
	}
	if err = cs.checkHost(ctx, cs.guard.of(tenant), by, u); err != nil {
		return fault.Wrap(err, fault.Invalid, fault.RequestInvalid, "%q is refused by configuration: %s", u.String(), refusal(err)).WithField("url")
	}
	return nil
}

// checkHost returns an error if the guard permits no connection to the host.
func (cs *Clients) checkHost(ctx context.Context, g guard, by *proxy, u *url.URL) error {
	inClear := u.Scheme == "http"
	if by != nil && by.resolves {
		return g.permitsName(u.Hostname(), inClear)
	}
	var err error
	for _, addr := range cs.addresses(ctx, u.Hostname()) {
		if err = g.permits(netip.AddrPortFrom(addr, portOf(u)), inClear); err == nil {
			return nil
		}
	}
	return err
}

// addresses are the addresses of the host; none if it cannot be resolved.
func (cs *Clients) addresses(ctx context.Context, host string) []netip.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // by definition (RFC 6761, section 6.3)
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	ctx, cancel := context.WithTimeout(ctx, lookupPatience)
	defer cancel()
	found, err := cs.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	return found
}

// portOf is the port of the URL, or the default of its scheme.
func portOf(u *url.URL) uint16 {
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case err == nil:
		return uint16(port)
	case u.Scheme == "http":
		return 80
	default:
		return 443
	}
}
