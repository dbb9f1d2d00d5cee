package metatest

import (
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/identity"
)

func testIdentities(t *testing.T, open Open) {
	t.Run("a store carries none at first", func(t *testing.T) {
		w := newWorld(t, open)
		_, err := w.Store.FindIdentity(t.Context())
		if !fault.Is(err, fault.ResourceUnknown) {
			t.Errorf("found: %v", err)
		}
		if _, err = w.Store.RaiseIdentity(t.Context(), 7); !fault.Is(err, fault.ResourceUnknown) {
			t.Errorf("raised: %v", err)
		}
	})
	t.Run("the first claim wins", func(t *testing.T) {
		w := newWorld(t, open)
		claims := make([]identity.Identity, 8)
		var all sync.WaitGroup
		for i := range claims {
			all.Go(func() {
				var err error
				if claims[i], err = w.Store.ClaimIdentity(t.Context(), identity.New()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		found, err := w.Store.FindIdentity(t.Context())
		w.must(err)
		for _, c := range claims {
			if c != found || c.IsZero() || c.Generation != 0 {
				t.Errorf("claimed %v, found %v", c, found)
			}
		}
	})
	t.Run("each raise is one more, and more than is asked", func(t *testing.T) {
		w := newWorld(t, open)
		first, err := w.Store.ClaimIdentity(t.Context(), identity.New())
		w.must(err)
		for _, c := range []struct{ atLeast, want int64 }{{0, 1}, {0, 2}, {1, 3}, {9, 10}, {0, 11}} {
			got, err := w.Store.RaiseIdentity(t.Context(), c.atLeast)
			if err != nil || got.Deployment != first.Deployment || got.Generation != c.want {
				t.Errorf("raised to more than %d: %v, %v; want generation %d", c.atLeast, got, err, c.want)
			}
			if found, err := w.Store.FindIdentity(t.Context()); err != nil || found != got {
				t.Errorf("found %v, %v after %v", found, err, got)
			}
		}
	})
	t.Run("none of many raises is lost", func(t *testing.T) {
		w := newWorld(t, open)
		_, err := w.Store.ClaimIdentity(t.Context(), identity.New())
		w.must(err)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 4 {
					if _, err := w.Store.RaiseIdentity(t.Context(), 0); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if found, err := w.Store.FindIdentity(t.Context()); err != nil || found.Generation != 32 {
			t.Errorf("found %v, %v", found, err)
		}
	})
}
