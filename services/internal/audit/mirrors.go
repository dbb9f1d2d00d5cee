package audit

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Bounds of what one process remembers of mirror hosts between two flushes.
const (
	perMirror    = meta.MaxMirrorAddresses // addresses of a host; others share one count
	maxMirrored  = 64 << 10                // counts of all hosts; beyond that each host has one
	mirrorsFlush = time.Minute
)

// MirrorStore is the part of meta.Store that keeps uses of mirror hosts.
type MirrorStore interface {
	RecordMirrorUses(ctx context.Context, uses map[meta.MirrorUse]int64) error
}

// Mirrors counts uses of mirror hosts for the audit log: who learned the name, and whether
// more is pulled by it than should be. A nil one counts nothing. Safe for concurrent use.
type Mirrors struct {
	store MirrorStore
	log   *slog.Logger
	now   func() time.Time

	mu     sync.Mutex
	counts map[meta.MirrorUse]int64
	kinds  map[mirror]int // counts of a host
}

type mirror struct {
	tenant tenant.ID
	slug   string
}

// NewMirrors makes Mirrors on a store.
func NewMirrors(s MirrorStore, log *slog.Logger) *Mirrors {
	return &Mirrors{store: s, log: log, now: time.Now, counts: map[meta.MirrorUse]int64{}, kinds: map[mirror]int{}}
}

// Add counts a request of a client by a mirror host.
func (m *Mirrors) Add(t tenant.ID, slug string, client netip.Addr) {
	if m == nil {
		return
	}
	use := meta.MirrorUse{Tenant: t, Slug: slug, Address: web.AddrText(client), Hour: m.now().UTC().Truncate(time.Hour)}
	host := mirror{t, slug}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, counted := m.counts[use]; !counted {
		if m.kinds[host] >= perMirror || len(m.counts) >= maxMirrored {
			use.Address = ""
		}
		if _, counted := m.counts[use]; !counted {
			m.kinds[host]++
		}
	}
	m.counts[use]++
}

// Flush writes down what was counted. What cannot be written is lost, and logged.
func (m *Mirrors) Flush(ctx context.Context) {
	m.mu.Lock()
	counts := m.counts
	m.counts, m.kinds = map[meta.MirrorUse]int64{}, map[mirror]int{}
	m.mu.Unlock()
	if len(counts) == 0 {
		return
	}
	if err := m.store.RecordMirrorUses(ctx, counts); err != nil {
		m.log.WarnContext(ctx, "uses of mirror hosts are missing from the audit log", "counts", len(counts), "error", err)
	}
}

// Run flushes until ctx ends, and then once more.
func (m *Mirrors) Run(ctx context.Context) { flushEvery(ctx, mirrorsFlush, m.Flush) }
