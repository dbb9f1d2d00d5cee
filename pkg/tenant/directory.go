package tenant

import (
	"context"
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
