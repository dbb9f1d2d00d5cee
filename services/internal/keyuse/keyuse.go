// Package keyuse tells the store when keys of accounts were used last, to a minute and for
// many at once, so that a login writes nothing.
package keyuse

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Bounds of what one process remembers.
const (
	maxKeys = 32 << 10 // between two flushes; uses of others are left out
	flushes = time.Minute
)

// Uses collects uses of keys. A nil one collects none. Safe for concurrent use.
type Uses struct {
	store meta.KeyUses
	log   *slog.Logger
	now   func() time.Time

	mu   sync.Mutex
	keys map[key]use
	lost int // since the last flush
}

type key struct {
	tenant  tenant.ID
	account int64
	name    string
}

type use struct {
	at   time.Time
	from netip.Addr
}

// New makes Uses on a store.
func New(s meta.KeyUses, log *slog.Logger) *Uses {
	return &Uses{store: s, log: log, now: time.Now, keys: map[key]use{}}
}

// Add notes that a client at an address used a key now.
func (u *Uses) Add(l meta.Login, from netip.Addr) {
	if u == nil || l.Key == "" {
		return
	}
	k := key{l.Tenant, l.ID, l.Key}
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.keys[k]; !known && len(u.keys) >= maxKeys {
		u.lost++
		return
	}
	u.keys[k] = use{u.now().UTC().Truncate(time.Minute), from.Unmap()}
}

// Flush writes down what was collected. What cannot be written is lost, and logged.
func (u *Uses) Flush(ctx context.Context) {
	u.mu.Lock()
	keys, lost := u.keys, u.lost
	u.keys, u.lost = map[key]use{}, 0
	u.mu.Unlock()
	if lost > 0 {
		u.log.WarnContext(ctx, "too many keys are used at once; when some were used last is missing", "uses", lost)
	}
	if len(keys) == 0 {
		return
	}
	rows := make([]meta.KeyUse, 0, len(keys))
	for k, one := range keys {
		row := meta.KeyUse{Tenant: k.tenant, Account: k.account, Key: k.name, At: one.at}
		if one.from.IsValid() {
			row.Address = one.from.String()
		}
		rows = append(rows, row)
	}
	if err := u.store.RecordKeyUses(ctx, rows); err != nil {
		u.log.WarnContext(ctx, "when keys were used last could not be stored", "keys", len(rows), "error", err)
	}
}

// Run flushes until ctx ends, and then once more.
func (u *Uses) Run(ctx context.Context) {
	tick := time.NewTicker(flushes)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			u.Flush(ctx)
		case <-ctx.Done():
			const last = 10 * time.Second
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), last)
			defer cancel()
			u.Flush(ctx)
			return
		}
	}
}
