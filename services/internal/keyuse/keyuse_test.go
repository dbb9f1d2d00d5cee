package keyuse

import (
	"context"
	"log/slog"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// kept keeps what is recorded.
type kept struct{ calls [][]meta.KeyUse }

func (k *kept) RecordKeyUses(_ context.Context, uses []meta.KeyUse) error {
	k.calls = append(k.calls, uses)
	return nil
}

func loginOf(key string) meta.Login {
	return meta.Login{Account: meta.Account{Tenant: 7, ID: 3}, Key: key}
}

func TestU28_UsesAreWrittenTogether(t *testing.T) {
	store := &kept{}
	u := New(store, slog.New(slog.DiscardHandler))
	now := time.Date(2026, 11, 29, 12, 34, 56, 0, time.UTC)
	u.now = func() time.Time { return now }
	u.Add(loginOf(""), netip.Addr{}) // a password
	for range 1000 {
		u.Add(loginOf("k"), netip.MustParseAddr("::ffff:192.0.2.1"))
	}
	u.Flush(t.Context())
	u.Flush(t.Context()) // nothing new
	want := meta.KeyUse{Tenant: 7, Account: 3, Key: "k", At: now.Truncate(time.Minute), Address: "192.0.2.1"}
	if len(store.calls) != 1 || len(store.calls[0]) != 1 || store.calls[0][0] != want {
		t.Errorf("recorded %+v", store.calls)
	}
	(*Uses)(nil).Add(loginOf("k"), netip.Addr{})
}

func TestU28_UsesTakeBoundedMemory(t *testing.T) {
	store := &kept{}
	u := New(store, slog.New(slog.DiscardHandler))
	for i := range 2 * maxKeys {
		u.Add(loginOf(strconv.Itoa(i)), netip.Addr{})
	}
	u.Add(loginOf("0"), netip.Addr{})
	if len(u.keys) != maxKeys || u.lost != maxKeys {
		t.Errorf("%d keys, %d lost", len(u.keys), u.lost)
	}
	u.Flush(t.Context())
	if len(store.calls) != 1 || len(store.calls[0]) != maxKeys {
		t.Error("they are not written at once")
	}
}
