package blobtest

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/identity"
)

// TestIdentity is for stores that are blob.Identified: what they carry, and how
// they behave without it. lose removes the identity behind the store's back.
func TestIdentity(t *testing.T, open Opener, lose func(testing.TB, blob.Store)) {
	identified := func(t *testing.T) (blob.Store, blob.Identified) {
		store := open(t)
		return store, store.(blob.Identified)
	}
	t.Run("Written", func(t *testing.T) {
		store, s := identified(t)
		if _, err := s.ReadIdentity(t.Context()); !errors.Is(err, blob.ErrMissing) {
			t.Fatalf("read at first: %v", err)
		}
		var was identity.Identity
		first := identity.New()
		for _, next := range []identity.Identity{first, {Deployment: first.Deployment, Generation: 1 << 40}, identity.New()} {
			if err := s.WriteIdentity(t.Context(), was, next); err != nil {
				t.Fatal(err)
			}
			if got, err := s.ReadIdentity(t.Context()); err != nil || got != next {
				t.Errorf("read %v, %v; want %v", got, err, next)
			}
			for _, stale := range []identity.Identity{was, identity.New()} {
				if err := s.WriteIdentity(t.Context(), stale, identity.New()); !errors.Is(err, blob.ErrChanged) {
					t.Errorf("written over what is no more: %v", err)
				}
			}
			was = next
		}
		if err := store.List(t.Context(), func(o blob.Stored) error {
			t.Errorf("listed: %+v", o)
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	t.Run("Expected", func(t *testing.T) {
		store, s := identified(t)
		id := identity.New()
		if err := s.WriteIdentity(t.Context(), identity.Identity{}, id); err != nil {
			t.Fatal(err)
		}
		s.Expect(id.Deployment)
		k := blob.Key{Tenant: 1, Incarnation: uuid.New()}
		if _, err := store.Stat(t.Context(), k); !errors.Is(err, blob.ErrMissing) {
			t.Errorf("a lost object: %v, want ErrMissing", err)
		}
		if err := blob.Ping(t.Context(), store); err != nil {
			t.Errorf("ping: %v", err)
		}
		for _, c := range []struct {
			what string
			gone func()
		}{
			{"another's", func() {
				if err := s.WriteIdentity(t.Context(), id, identity.New()); err != nil {
					t.Fatal(err)
				}
			}},
			{"gone", func() { lose(t, store) }},
		} {
			c.gone()
			_, statted := store.Stat(t.Context(), k)
			_, opened := store.Open(t.Context(), k)
			_, sealed := store.Seal(t.Context(), blob.Stage{Key: k, Offset: 3, Tail: blob.Tail{Incarnation: uuid.New(), Size: 3}})
			for call, err := range map[string]error{"stat": statted, "open": opened, "seal": sealed, "ping": blob.Ping(t.Context(), store)} {
				if fault.KindOf(err) != fault.Unavailable || errors.Is(err, blob.ErrMissing) {
					t.Errorf("%s while the identity is %s: %v, want an outage", call, c.what, err)
				}
			}
		}
	})
}
