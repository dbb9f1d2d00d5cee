package audit

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// written keeps what a Mirrors writes.
type written struct{ uses map[meta.MirrorUse]int64 }

func (w *written) RecordMirrorUses(_ context.Context, uses map[meta.MirrorUse]int64) error {
	w.uses = uses
	return nil
}

func TestV68_UsesOfMirrorHostsAreBounded(t *testing.T) {
	store := &written{}
	m := NewMirrors(store, slog.New(slog.DiscardHandler))
	now := time.Date(2026, 1, 1, 10, 59, 0, 0, time.UTC)
	m.now = func() time.Time { return now }
	from := netip.MustParseAddr("192.0.2.1")
	m.Add(7, "engines", from)
	m.Add(7, "engines", from)
	m.Add(7, "others", from)
	now = now.Add(time.Minute)
	m.Add(7, "engines", from)
	m.Flush(t.Context())
	hour := now.Truncate(time.Hour)
	for use, want := range map[meta.MirrorUse]int64{
		{Tenant: 7, Slug: "engines", Address: "192.0.2.1", Hour: hour.Add(-time.Hour)}: 2,
		{Tenant: 7, Slug: "others", Address: "192.0.2.1", Hour: hour.Add(-time.Hour)}:  1,
		{Tenant: 7, Slug: "engines", Address: "192.0.2.1", Hour: hour}:                 1,
	} {
		if got := store.uses[use]; got != want {
			t.Errorf("%+v: %d times, want %d", use, got, want)
		}
	}
	for i := range 2 * perMirror {
		m.Add(7, "engines", netip.MustParseAddr(fmt.Sprintf("198.51.%d.%d", i/256, i%256)))
	}
	m.Flush(t.Context())
	total := int64(0)
	for _, n := range store.uses {
		total += n
	}
	rest := store.uses[meta.MirrorUse{Tenant: 7, Slug: "engines", Hour: hour}]
	if len(store.uses) != perMirror+1 || total != 2*perMirror || rest != perMirror {
		t.Errorf("%d counts of %d uses, %d of them without address", len(store.uses), total, rest)
	}
	(*Mirrors)(nil).Add(7, "engines", from)
}
