package metatest

import (
	"context"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// testStore is what holds for every call, whatever its noun.
func testStore(t *testing.T, open Open) {
	create := func(ctx context.Context, w world, by meta.Cause) error {
		_, err := w.Store.CreateTenant(ctx, by, meta.Tenant{Slug: "other"}, tenant.Settings{})
		return err
	}
	notMade := func(w world) {
		_, err := w.Store.FindTenant(t.Context(), "other")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
	}
	t.Run("is unavailable once it is closed", func(t *testing.T) {
		w := newWorld(t, open)
		w.must(w.Store.Close())
		_, err := w.Store.FindTenant(t.Context(), "acme")
		for what, err := range map[string]error{"ping": w.Store.Ping(t.Context()), "read": err, "write": create(t.Context(), w, cause())} {
			if fault.KindOf(err) != fault.Unavailable {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
	t.Run("does nothing for a caller that has left", func(t *testing.T) {
		w := newWorld(t, open)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := create(ctx, w, cause()); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%v", err)
		}
		notMade(w)
	})
	t.Run("changes nothing without an id of the operation", func(t *testing.T) {
		w := newWorld(t, open)
		if create(t.Context(), w, meta.Cause{}) == nil {
			t.Error("an operation without an id was taken")
		}
		notMade(w)
	})
	// Contract section 1: no 500 from input alone.
	t.Run("takes the blame for no text", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "config"))
		for _, text := range []string{"a\x00b", "a\xffb"} {
			if _, err := w.Store.FindTenant(t.Context(), text); fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.NotFound {
				t.Errorf("reading %q: %v", text, err)
			}
			if err := w.tryPut(r, image, text); err != nil && fault.KindOf(err) != fault.Invalid {
				t.Errorf("writing %q: %v", text, err)
			}
		}
		subject := descriptor(w.put(r, image, "v1"))
		w.put(r, w.artifact(subject, "application/sbom", map[string]string{"a\x00b": "\x00"}, w.push(r, "sbom")))
		referrers, err := w.Store.ListReferrers(t.Context(), r, subject.Digest, "", meta.Page{Size: 1})
		if err != nil || len(referrers) != 1 || referrers[0].Annotations["a\x00b"] != "\x00" {
			t.Errorf("%+v, %v", referrers, err)
		}
	})
}
