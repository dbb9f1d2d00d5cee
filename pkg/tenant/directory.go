package tenant

import (
	"context"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/berth-registry/berth/pkg/fault"
)

// How many hosts a Directory remembers. Unknown hosts have their own, smaller
// share, so that a scan of made-up names pushes no tenant out.
const (
	knownHosts   = 16384
	unknownHosts = 2048
)

// lookupTimeout ends a look-up that outlived the requests waiting for it.
const lookupTimeout = 5 * time.Second

// Directory resolves the hosts of requests and remembers the answers, also
// that a host is unknown, for at most CacheTTL. Any number of requests for a
// host that is not remembered cost one look-up. It is safe for concurrent use.
type Directory struct {
	finder  Finder
	pattern Pattern
	now     func() time.Time
	memory  atomic.Pointer[memory]
}

// memory is what is remembered since the last Clear. A look-up that began
// before a Clear ends in the old memory, where nobody sees it.
type memory struct {
	known, unknown *lru.Cache[string, answer]
	lookups        singleflight.Group
}

type answer struct {
	site  Site
	err   error
	until time.Time
}

// recall finds an answer that is young enough.
func (m *memory) recall(host string, now time.Time) (answer, bool) {
	if a, ok := m.known.Get(host); ok && now.Before(a.until) {
		return a, true
	}
	a, ok := m.unknown.Get(host)
	return a, ok && now.Before(a.until)
}

// NewDirectory makes a Directory that looks hosts up in f.
func NewDirectory(f Finder, p Pattern) *Directory {
	d := &Directory{finder: f, pattern: p, now: time.Now}
	d.Clear()
	return d
}

// Clear forgets all hosts. Whoever changes a tenant, registry or domain in this
// process calls it after the change, so that the next request sees it.
func (d *Directory) Clear() {
	d.memory.Store(&memory{known: newAnswers(knownHosts), unknown: newAnswers(unknownHosts)})
}

func newAnswers(size int) *lru.Cache[string, answer] {
	c, err := lru.New[string, answer](size)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return c
}

// Resolve returns the site of a Host header as it was sent. A host that is
// malformed, that nobody has, or whose tenant or registry is gone is
// fault.HostUnknown with one and the same message; a suspended tenant's site is
// found.
func (d *Directory) Resolve(ctx context.Context, hostHeader string) (Site, error) {
	host, err := NormalizeHost(hostHeader)
	if err != nil {
		return Site{}, err
	}
	m := d.memory.Load()
	if a, ok := m.recall(host, d.now()); ok {
		return a.site, a.err
	}
	// The look-up is everybody's: it goes on when the first caller leaves.
	shared := context.WithoutCancel(ctx)
	done := m.lookups.DoChan(host, func() (any, error) {
		return d.lookUp(shared, m, host)
	})
	select {
	case <-ctx.Done():
		return Site{}, fault.From(ctx.Err())
	case r := <-done:
		if r.Err != nil {
			return Site{}, r.Err
		}
		return r.Val.(Site), nil
	}
}

func (d *Directory) lookUp(ctx context.Context, m *memory, host string) (Site, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	now := d.now() // before the look-up: the answer is as old as that
	if a, ok := m.recall(host, now); ok {
		return a.site, a.err // another look-up ended between our recall and this one
	}
	until := now.Add(CacheTTL)
	l := Lookup{Host: host}
	if t, r, ok := d.pattern.Parse(host); ok {
		l.TenantSlug, l.Registry = t, r
	}
	site, err := d.finder.FindSite(ctx, l)
	switch {
	case err == nil:
		m.unknown.Remove(host)
		m.known.Add(host, answer{site: site, until: until})
		return site, nil
	case fault.Is(err, fault.HostUnknown):
		m.known.Remove(host)
		m.unknown.Add(host, answer{err: errHost, until: until})
		return Site{}, errHost
	default:
		return Site{}, err // an outage is no answer: nothing is remembered
	}
}
