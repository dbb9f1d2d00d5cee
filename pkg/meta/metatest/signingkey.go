package metatest

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/identity"
	"github.com/berth-registry/berth/pkg/meta"
)

func testSigningKeys(t *testing.T, open Open) {
	key := func(id string, at time.Time) access.SigningKey {
		return access.SigningKey{
			VerifyKey: access.VerifyKey{ID: id, Algorithm: access.EdDSA, Public: []byte{1, 2}, CreatedAt: at, SignsFrom: at.Add(time.Minute)},
			Sealed:    []byte{3},
		}
	}
	wantKeys := func(t *testing.T, w world, want ...access.SigningKey) {
		t.Helper()
		keys, err := w.Store.ListSigningKeys(t.Context())
		if err != nil || len(keys) != len(want) || len(want) > 0 && !reflect.DeepEqual(keys, want) {
			t.Errorf("keys %#v, %v; want %#v", keys, err, want)
		}
		public, err := w.Store.ListVerifyKeys(t.Context())
		if err != nil || len(public) != len(want) {
			t.Fatalf("public halves %+v, %v", public, err)
		}
		for i := range want {
			if !reflect.DeepEqual(public[i], want[i].VerifyKey) {
				t.Errorf("public half %+v, want %+v", public[i], want[i].VerifyKey)
			}
		}
	}

	t.Run("the first of an id wins", func(t *testing.T) {
		w := newWorld(t, open)
		first := key("b", w.Now())
		kept, err := w.Store.PutSigningKey(t.Context(), first)
		if err != nil || !reflect.DeepEqual(kept, first) {
			t.Errorf("kept %+v, %v", kept, err)
		}
		second := first
		second.Sealed = []byte{4}
		if kept, err = w.Store.PutSigningKey(t.Context(), second); err != nil || !reflect.DeepEqual(kept, first) {
			t.Errorf("kept %+v, %v; want the first", kept, err)
		}
		retired := key("a", w.Now())
		retired.RetiredAt = w.Now().Add(time.Second)
		_, err = w.Store.PutSigningKey(t.Context(), retired)
		w.must(err)
		wantKeys(t, w, retired, first)
	})

	t.Run("U55 keys are due when they were asked to be replaced", func(t *testing.T) {
		w := newWorld(t, open)
		if due, err := w.Store.SigningKeysDue(t.Context()); err != nil || !due.IsZero() {
			t.Errorf("due at %v, %v, before it was asked for", due, err)
		}
		if err := w.Store.ReplaceSigningKeys(t.Context(), cause()); !fault.Is(err, fault.ResourceUnknown) {
			t.Errorf("without a deployment: %v", err)
		}
		_, err := w.Store.ClaimIdentity(t.Context(), identity.New())
		w.must(err)
		if due, err := w.Store.SigningKeysDue(t.Context()); err != nil || !due.IsZero() {
			t.Errorf("due at %v, %v, before it was asked for", due, err)
		}
		var last time.Time
		for range 2 {
			w.must(w.Store.ReplaceSigningKeys(t.Context(), cause()))
			due, err := w.Store.SigningKeysDue(t.Context())
			if err != nil || !due.After(last) || w.Now().Sub(due).Abs() > time.Minute {
				t.Errorf("due at %v, %v, now is %v", due, err, w.Now())
			}
			last = due
			w.Advance(time.Second)
		}
	})

	t.Run("U119 a replacement is an event of its transaction", func(t *testing.T) {
		w := newWorld(t, open)
		rotations := func() int {
			events, err := w.Store.ListEvents(t.Context(), meta.Deployment, meta.Page{Size: 10})
			w.must(err)
			return len(slices.DeleteFunc(events, func(e meta.Event) bool { return e.Verb != meta.KeysRotated || e.Target != "signingKeys" }))
		}
		if err := w.Store.ReplaceSigningKeys(t.Context(), cause()); err == nil || rotations() != 0 {
			t.Errorf("%d events of a replacement that failed, %v", rotations(), err)
		}
		_, err := w.Store.ClaimIdentity(t.Context(), identity.New())
		w.must(err)
		if err := w.Store.ReplaceSigningKeys(t.Context(), meta.Cause{Actor: "operator"}); err == nil {
			t.Error("keys were replaced without an event")
		}
		if due, err := w.Store.SigningKeysDue(t.Context()); err != nil || !due.IsZero() {
			t.Errorf("without an event keys are due at %v, %v", due, err)
		}
		by := cause()
		w.must(w.Store.ReplaceSigningKeys(t.Context(), by))
		first, err := w.Store.SigningKeysDue(t.Context())
		w.must(err)
		w.Advance(time.Second)
		w.must(w.Store.ReplaceSigningKeys(t.Context(), by)) // the same operation again
		if again, err := w.Store.SigningKeysDue(t.Context()); err != nil || !again.Equal(first) || first.IsZero() || rotations() != 1 {
			t.Errorf("due at %v, then %v, with %d events, %v", first, again, rotations(), err)
		}
	})

	t.Run("an end is set once", func(t *testing.T) {
		w := newWorld(t, open)
		k := key("a", w.Now())
		_, err := w.Store.PutSigningKey(t.Context(), k)
		w.must(err)
		change := k
		change.Sealed = []byte{9}
		w.must(w.Store.UpdateSigningKey(t.Context(), change))
		wantKeys(t, w, change)
		ends := change
		ends.Sealed, ends.RetiredAt = nil, w.Now().Add(time.Hour)
		w.must(w.Store.UpdateSigningKey(t.Context(), ends))
		ends.Sealed = change.Sealed
		wantKeys(t, w, ends)
		later := ends
		later.RetiredAt = later.RetiredAt.Add(time.Hour)
		w.must(w.Store.UpdateSigningKey(t.Context(), later))
		wantKeys(t, w, ends)
		w.must(w.Store.DeleteSigningKey(t.Context(), k.ID))
		w.must(w.Store.UpdateSigningKey(t.Context(), later)) // it stays away
		wantKeys(t, w)
	})

	t.Run("a key is adopted once", func(t *testing.T) {
		w := newWorld(t, open)
		k := key("a", w.Now())
		published := k
		published.Sealed = []byte{}
		_, err := w.Store.PutSigningKey(t.Context(), published)
		w.must(err)
		k.RetiredAt = w.Now().Add(time.Hour)
		w.must(w.Store.AdoptSigningKey(t.Context(), k))
		wantKeys(t, w, k)
		again := k
		again.RetiredAt = k.RetiredAt.Add(time.Hour)
		w.must(w.Store.AdoptSigningKey(t.Context(), again)) // by another process, at the same time
		wantKeys(t, w, k)
		other := again
		other.Public = []byte{7} // a version before made it, with the id of the day
		w.must(w.Store.AdoptSigningKey(t.Context(), other))
		wantKeys(t, w, other)
		if lying, err := w.Store.ListOpenSigningKeys(t.Context()); err != nil || len(lying) > 0 {
			t.Errorf("open keys %v, %v", lying, err)
		}
	})
}
