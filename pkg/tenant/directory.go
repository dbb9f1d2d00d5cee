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
// share, so that a scan of random names does not evict tenants.
const (
	knownHosts   = 16384
	unknownHosts = 2048
)

// Directory resolves the hosts of requests and caches the results, unknown hosts
// included, for at most CacheTTL. Concurrent requests for an uncached host share
// one lookup. It is safe for concurrent use.
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

// Clear empties the cache. It is called after each change of a tenant, registry or
// domain in this process, so that the next request sees the change.
func (d *Directory) Clear() { d.sites.Clear() }

// Resolve returns the site of a Host header as it was sent. A host that is
// malformed or unknown, or whose tenant or registry is deleted, is
// fault.HostUnknown with the same message; a suspended tenant's site is found.
func (d *Directory) Resolve(ctx context.Context, hostHeader string) (Site, error) {
	host, err := NormalizeHost(hostHeader)
	if err != nil {
		return Site{}, err
	}
	return d.sites.Get(ctx, host)
}

func (d *Directory) lookUp(ctx context.Context, host string) (Site, error) {
	l := Lookup{Host: host}
	if label, ok := d.pattern.mirrorLabel(host); ok {
		l = Lookup{Host: d.pattern.MirrorHost(RedactedMirror), Mirror: MirrorHash(label)}
	} else if t, r, ok := d.pattern.Parse(host); ok {
		l.TenantSlug, l.Registry = t, r
	}
	site, err := d.finder.FindSite(ctx, l)
	if fault.Is(err, fault.HostUnknown) {
		err = errHost // the same in all cases
	}
	return site, err
}

// Changes tells the other processes of a deployment that sites have changed, so
// that they clear their Directory before CacheTTL.
type Changes interface {
	// Announce is called after a change. It must be quick. A message may be lost,
	// since no process is outdated for longer than CacheTTL.
	Announce(ctx context.Context)
}

// Maximum lengths of a host name and its labels (RFC 1035 section 2.3.4).
const (
	maxHost  = 253
	maxLabel = 63
)

// errHost is the same error for every host without a site, whatever the reason, so
// that it does not show which tenants exist.
var errHost = fault.New(fault.NotFound, fault.HostUnknown, "no registry answers at this host")

// NormalizeHost converts a Host header, a domain of the admin API or a TLS server
// name to the form in which hosts are compared: lower case, without port and
// without the trailing dot of a fully qualified name. Internationalised names must
// be in ASCII form. An IPv4 address is unchanged, an IPv6 address is canonical and
// in brackets. The result normalises to itself.
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
		// Resolvers read such a name as an IPv4 address, even in unusual spellings.
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
