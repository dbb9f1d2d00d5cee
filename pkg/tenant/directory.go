package tenant

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ttlcache"
)

// How many hosts a Directory remembers. Unknown hosts have their own, smaller
// share, so that a scan of made-up names pushes no tenant out.
const (
	knownHosts   = 16384
	unknownHosts = 2048
)

// Directory resolves the hosts of requests and remembers the answers, also
// that a host is unknown, for at most CacheTTL. Any number of requests for a
// host that is not remembered cost one lookup. It is safe for concurrent use.
type Directory struct {
	finder  Finder
	pattern Pattern
	now     func() time.Time
	sites   *ttlcache.Cache[string, Site]
}

// NewDirectory makes a Directory that looks hosts up in f.
func NewDirectory(f Finder, p Pattern) *Directory {
	d := &Directory{finder: f, pattern: p, now: time.Now}
	d.sites = ttlcache.New(ttlcache.Options[string, Site]{
		Size: knownHosts, Now: func() time.Time { return d.now() },
		Load: d.lookUp, Life: CacheTTL,
		Misses: unknownHosts, IsMiss: func(err error) bool { return fault.Is(err, fault.HostUnknown) },
	})
	return d
}

// Clear forgets all hosts. It is called after each change of a tenant, registry or
// domain in this process, so that the next request sees the change.
func (d *Directory) Clear() { d.sites.Clear() }

// Resolve returns the site of a Host header as it was sent. A host that is
// malformed or unknown, or whose tenant or registry is gone, is fault.HostUnknown
// with one and the same message; a suspended tenant's site is found.
func (d *Directory) Resolve(ctx context.Context, hostHeader string) (Site, error) {
	host, err := NormalizeHost(hostHeader)
	if err != nil {
		return Site{}, err
	}
	return d.sites.Get(ctx, host)
}

func (d *Directory) lookUp(ctx context.Context, host string) (Site, error) {
	l := Lookup{Host: host}
	if t, r, ok := d.pattern.Parse(host); ok {
		l.TenantSlug, l.Registry = t, r
	}
	site, err := d.finder.FindSite(ctx, l)
	if fault.Is(err, fault.HostUnknown) {
		err = errHost // the same for all, whatever the finder knows
	}
	return site, err
}

// Changes tells the other processes of a deployment that what hosts lead to has
// changed, so that they clear their Directory before CacheTTL does.
type Changes interface {
	// Announce is called after a change. It takes a moment at most, and a message
	// may be lost: no process is wrong for longer than CacheTTL.
	Announce(ctx context.Context)
}

// The longest host name and label of it (RFC 1035 section 2.3.4).
const (
	maxHost  = 253
	maxLabel = 63
)

// errHost is the one answer to every host that leads nowhere, whatever is
// wrong with it: it tells nothing about who is served here.
var errHost = fault.New(fault.NotFound, fault.HostUnknown, "no registry answers at this host")

// NormalizeHost is the one way from a Host header, a domain of the admin API
// or a TLS server name to the form that hosts are compared in: lower case,
// without port and without the trailing dot of a fully qualified name.
// Internationalised names are taken in their ASCII form only. An IPv4 address
// stays as it is, an IPv6 address is canonical and in brackets. The result
// normalises to itself.
//
// Anything else is fault.HostUnknown, always with the same message.
func NormalizeHost(host string) (string, error) {
	if strings.HasPrefix(host, "[") {
		return normalizeBracketed(host)
	}
	host, port, hasPort := strings.Cut(host, ":")
	if hasPort && !isPort(port) {
		return "", errHost
	}
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > maxHost {
		return "", errHost
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if !isLabel(label) {
			return "", errHost
		}
		last = label
	}
	if isNumber(last) {
		// Resolvers read such a name as an IPv4 address, in odd spellings too.
		if a, err := netip.ParseAddr(host); err != nil || !a.Is4() {
			return "", errHost
		}
		return host, nil
	}
	return strings.ToLower(host), nil // ASCII only by now
}

func normalizeBracketed(host string) (string, error) {
	literal, rest, ok := strings.Cut(host[1:], "]")
	if !ok || rest != "" && (rest[0] != ':' || !isPort(rest[1:])) {
		return "", errHost
	}
	a, err := netip.ParseAddr(literal)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return "", errHost
	}
	return "[" + a.String() + "]", nil
}

func isPort(s string) bool {
	if !isNumber(s) || s[0] == '0' {
		return false
	}
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// isLabel matches a letter-digit-hyphen label (RFC 1123 section 2.1) in any case.
func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
