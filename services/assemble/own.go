package assemble

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/berth-registry/berth/pkg/boot"
)

// ownAddresses are those of this deployment: where this process listens, where
// other processes do as far as the configuration knows, and the servers that keep
// the data. No upstream leads there, whatever upstream_allow says (contract row
// S68).
type ownAddresses struct {
	listeners func() []net.Addr
	servers   []string // host:port
	lookUp    func(ctx context.Context, network, host string) ([]netip.Addr, error)

	asking singleflight.Group // one lookup of a host at a time, which holds no others up
	mu     sync.Mutex
	known  map[string]lookedUp // by host
}

// lookedUp are the addresses of a name, and since when.
type lookedUp struct {
	addrs []netip.Addr
	at    time.Time
}

// How long a name's addresses are believed, and how long a lookup may take.
const (
	serverAddressTTL   = 30 * time.Second
	serverLookupBudget = 2 * time.Second
)

// newOwnAddresses reads the servers from the configuration.
func newOwnAddresses(c boot.Config, listeners func() []net.Addr) *ownAddresses {
	o := &ownAddresses{listeners: listeners, lookUp: net.DefaultResolver.LookupNetIP, known: map[string]lookedUp{}}
	for _, s := range []struct{ raw, port string }{
		{c.Meta.Reveal(), "5432"},
		{c.Redis.Reveal(), "6379"},
		{endpointOf(c.Blobs.Reveal()), ""},
		{c.OTELEndpoint, "4317"},
		{c.UploadURL.Reveal(), ""},
		{c.TokenURL.Reveal(), ""},
		{c.ProxyURL.Reveal(), ""},
		{c.InternalURL(), ""},
	} {
		o.servers = append(o.servers, serversOf(s.raw, s.port)...)
	}
	for _, proxy := range c.ProxyURLs() {
		o.servers = append(o.servers, serversOf(proxy, "")...)
	}
	return o
}

// endpointOf is the S3 server that a blob store's URL names; empty for AWS.
func endpointOf(blobs string) string {
	u, err := url.Parse(blobs)
	if err != nil {
		return ""
	}
	return u.Query().Get("endpoint")
}

// serversOf are host and port of each server in a URL, which for Postgres may be
// several, also in its query.
func serversOf(raw, port string) []string {
	u, err := url.Parse(raw)
	if raw == "" || err != nil {
		return nil
	}
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	hosts := strings.Split(u.Host, ",")
	if more := u.Query().Get("host"); more != "" && u.Scheme != "s3" {
		hosts = append(hosts, strings.Split(more, ",")...)
	}
	if p := u.Query().Get("port"); p != "" {
		port = p
	}
	var found []string
	for _, h := range hosts {
		if h == "" || strings.HasPrefix(h, "/") { // a socket in the file system
			continue
		}
		if _, _, err := net.SplitHostPort(h); err != nil {
			h = net.JoinHostPort(strings.Trim(h, "[]"), port)
		}
		found = append(found, h)
	}
	return found
}

// listens says whether this process listens at the address, or a server of the
// deployment does that is on this machine. It is asked after a name was resolved, just
// before a connection is made.
func (o *ownAddresses) listens(at netip.AddrPort) bool {
	addr := at.Addr().Unmap()
	return slices.ContainsFunc(o.listeners(), func(l net.Addr) bool { return listensAt(l, addr, at.Port()) }) ||
		isLocal(addr) && o.serves(at)
}

// serves says whether a server of the deployment, or another process of it, is at
// the address.
func (o *ownAddresses) serves(at netip.AddrPort) bool {
	addr := at.Addr().Unmap()
	return slices.ContainsFunc(o.servers, func(s string) bool {
		host, port, err := net.SplitHostPort(s)
		return err == nil && port == strconv.Itoa(int(at.Port())) && o.leadsTo(host, addr)
	})
}

// listensAt says whether the listener takes connections to the address. One on
// all addresses takes those to every address of this machine.
func listensAt(l net.Addr, addr netip.Addr, port uint16) bool {
	own, err := netip.ParseAddrPort(l.String())
	if err != nil || own.Port() != port {
		return false
	}
	if own.Addr().Unmap() == addr {
		return true
	}
	if !own.Addr().IsUnspecified() {
		return own.Addr().IsLoopback() && addr.IsUnspecified() // Linux connects to itself at 0.0.0.0
	}
	return isLocal(addr)
}

// isLocal says whether the address is one of this machine.
func isLocal(addr netip.Addr) bool {
	return addr.IsLoopback() || addr.IsUnspecified() || isInterface(addr)
}

// isInterface says whether this machine has the address. Where that cannot be
// told, it has.
func isInterface(addr netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == addr {
			return true
		}
	}
	return false
}

// leadsTo says whether the server's host has the address now, or had when it
// could be looked up last. A server that is on this machine may listen on all of its
// addresses: each of them leads there.
func (o *ownAddresses) leadsTo(host string, addr netip.Addr) bool {
	addrs := o.addressesOf(host)
	if slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap() == addr }) {
		return true
	}
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return isLocal(a.Unmap()) }) && isLocal(addr)
}

// addressesOf are those of a host, as they were when it was looked up last if it cannot
// be now.
func (o *ownAddresses) addressesOf(host string) []netip.Addr {
	if own, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{own}
	}
	recent := func() (lookedUp, bool) {
		o.mu.Lock()
		defer o.mu.Unlock()
		found := o.known[host]
		return found, time.Since(found.at) <= serverAddressTTL
	}
	if found, ok := recent(); ok {
		return found.addrs
	}
	addrs, _, _ := o.asking.Do(host, func() (any, error) {
		found, ok := recent()
		if ok {
			return found.addrs, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), serverLookupBudget)
		defer cancel()
		if addrs, err := o.lookUp(ctx, "ip", host); err == nil {
			found.addrs = addrs
		}
		found.at = time.Now()
		o.mu.Lock()
		defer o.mu.Unlock()
		o.known[host] = found
		return found.addrs, nil
	})
	return addrs.([]netip.Addr)
}
