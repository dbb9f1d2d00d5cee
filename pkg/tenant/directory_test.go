package tenant

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// hosts is a Finder over a map that counts its lookups. With a gate, a lookup
// has read the map when it says so at the gate, and answers when the gate closes.
type hosts struct {
	mu      sync.Mutex
	sites   map[Lookup]Site
	down    error
	gate    *gate
	lookups atomic.Int64
	last    Lookup
}

type gate struct{ entered, open chan struct{} }

func newGate() *gate { return &gate{entered: make(chan struct{}, 1), open: make(chan struct{})} }

func (h *hosts) FindSite(_ context.Context, l Lookup) (Site, error) {
	h.lookups.Add(1)
	h.mu.Lock()
	site, ok := h.sites[l]
	down, gate := h.down, h.gate
	h.last = l
	h.mu.Unlock()
	if gate != nil {
		gate.entered <- struct{}{}
		<-gate.open
	}
	switch {
	case down != nil:
		return Site{}, down
	case !ok:
		return Site{}, fault.New(fault.NotFound, fault.HostUnknown, "details that must not leave")
	default:
		return site, nil
	}
}

func (h *hosts) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

var dev = Lookup{Host: "dev.acme.reg.example", TenantSlug: "acme", Registry: "dev"}

func newDirectory(t *testing.T) (*Directory, *hosts, *time.Time) {
	t.Helper()
	finder := &hosts{sites: map[Lookup]Site{dev: {Host: dev.Host, Tenant: 7, Registry: 3}}}
	d := NewDirectory(finder, mustPattern(t, DotPattern, "reg.example"))
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	d.now = func() time.Time { return clock }
	return d, finder, &clock
}

func TestA1_OnlyLegalSpellingsResolve(t *testing.T) {
	finder := &hosts{sites: map[Lookup]Site{{Host: victim, TenantSlug: "acme", Registry: "main"}: {Host: victim, Tenant: 7}}}
	d := NewDirectory(finder, mustPattern(t, DotPattern, "reg.example"))
	for _, s := range spellings {
		if site, err := d.Resolve(t.Context(), s); err != nil || site.Tenant != 7 {
			t.Errorf("Resolve(%q) = %+v, %v", s, site, err)
		}
	}
	if n := finder.lookups.Load(); n != 1 {
		t.Errorf("%d lookups for six spellings of one host, want 1", n)
	}
	for _, s := range strangers() {
		site, err := d.Resolve(t.Context(), s)
		if !errors.Is(err, errHost) {
			t.Errorf("Resolve(%q) = %+v, %v; want the constant error", s, site, err)
		}
	}
}

func TestDirectory_RemembersForCacheTTL(t *testing.T) {
	d, finder, clock := newDirectory(t)
	for _, host := range []string{dev.Host, "nobody.reg.example"} {
		before := finder.lookups.Load()
		_, first := d.Resolve(t.Context(), host)
		*clock = clock.Add(CacheTTL - 1)
		_, second := d.Resolve(t.Context(), host)
		if n := finder.lookups.Load() - before; n != 1 || !errors.Is(second, first) {
			t.Errorf("%s: %d lookups within the TTL, answers %v and %v", host, n, first, second)
		}
		*clock = clock.Add(1)
		_, _ = d.Resolve(t.Context(), host)
		if n := finder.lookups.Load() - before; n != 2 {
			t.Errorf("%s: %d lookups after the TTL, want 2", host, n)
		}
	}
}

func TestDirectory_ClearShowsChangesAtOnce(t *testing.T) {
	d, finder, _ := newDirectory(t)
	if _, err := d.Resolve(t.Context(), "new.reg.example"); !fault.Is(err, fault.HostUnknown) {
		t.Fatal(err)
	}
	finder.set(func() {
		finder.sites[Lookup{Host: "new.reg.example", TenantSlug: "new", Registry: "main"}] = Site{Tenant: 8}
		delete(finder.sites, dev)
	})
	d.Clear()
	if site, err := d.Resolve(t.Context(), "new.reg.example"); err != nil || site.Tenant != 8 {
		t.Errorf("new tenant: %+v, %v", site, err)
	}
	if _, err := d.Resolve(t.Context(), dev.Host); !fault.Is(err, fault.HostUnknown) {
		t.Errorf("deleted registry: %v", err)
	}
}

// A lookup that read the old state must not be remembered after the Clear that
// followed the change.
func TestDirectory_ClearOutrunsLookup(t *testing.T) {
	d, finder, _ := newDirectory(t)
	gate := newGate()
	finder.set(func() { finder.gate = gate })
	old := make(chan error, 1)
	go func() {
		_, err := d.Resolve(t.Context(), "new.reg.example")
		old <- err
	}()
	<-gate.entered
	finder.set(func() {
		finder.gate = nil
		finder.sites[Lookup{Host: "new.reg.example", TenantSlug: "new", Registry: "main"}] = Site{Tenant: 8}
	})
	d.Clear()
	if site, err := d.Resolve(t.Context(), "new.reg.example"); err != nil || site.Tenant != 8 {
		t.Errorf("while the old lookup runs: %+v, %v", site, err)
	}
	close(gate.open)
	if err := <-old; !fault.Is(err, fault.HostUnknown) {
		t.Errorf("the old lookup: %v", err)
	}
	if site, err := d.Resolve(t.Context(), "new.reg.example"); err != nil || site.Tenant != 8 {
		t.Errorf("after the old lookup: %+v, %v", site, err)
	}
}

func TestDirectory_StampedeIsOneLookup(t *testing.T) {
	d, finder, _ := newDirectory(t)
	gate := newGate()
	finder.set(func() { finder.gate = gate })

	leaving, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := d.Resolve(leaving, dev.Host)
		gone <- err
	}()
	<-gate.entered
	const n = 200
	errs := make(chan error, n)
	for range n {
		go func() {
			site, err := d.Resolve(t.Context(), dev.Host)
			if err == nil && site.Tenant != 7 {
				err = fmt.Errorf("site %+v", site)
			}
			errs <- err
		}()
	}
	leave() // the caller that began the lookup does not take the others with it
	if err := <-gone; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("the caller that left: %v", err)
	}
	close(gate.open)
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := finder.lookups.Load(); got != 1 {
		t.Errorf("%d lookups, want 1", got)
	}
}

func TestDirectory_OutageIsNotRemembered(t *testing.T) {
	d, finder, _ := newDirectory(t)
	finder.set(func() { finder.down = fault.Down(errors.New("disk"), "the database") })
	if _, err := d.Resolve(t.Context(), dev.Host); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("%v; want unavailable", err)
	}
	finder.set(func() { finder.down = nil })
	if _, err := d.Resolve(t.Context(), dev.Host); err != nil {
		t.Error(err)
	}
}

func TestDirectory_DomainsAreLookedUpByName(t *testing.T) {
	d, finder, _ := newDirectory(t)
	finder.sites[Lookup{Host: "registry.acme.com"}] = Site{Host: "registry.acme.com", Tenant: 7}
	if site, err := d.Resolve(t.Context(), "Registry.Acme.com:443"); err != nil || site.Tenant != 7 {
		t.Errorf("%+v, %v", site, err)
	}
	if want := (Lookup{Host: "registry.acme.com"}); finder.last != want {
		t.Errorf("looked up %+v", finder.last)
	}
}

func BenchmarkResolve(b *testing.B) {
	finder := &hosts{sites: map[Lookup]Site{dev: {Host: dev.Host, Tenant: 7}}}
	d := NewDirectory(finder, mustPattern(b, DotPattern, "reg.example"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Resolve(b.Context(), "dev.acme.reg.example:5000"); err != nil {
			b.Fatal(err)
		}
	}
}
