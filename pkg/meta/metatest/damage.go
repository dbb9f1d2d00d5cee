package metatest

import (
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// reports reports damage of a blob, where LocateBlob finds it.
func (w world) reports(want bool, b meta.Blob, what meta.Damage) {
	w.t.Helper()
	place, err := w.Store.LocateBlob(w.t.Context(), b.Key.Tenant, b.Digest)
	w.must(err)
	news, err := w.Store.ReportDamage(w.t.Context(), cause(), meta.Damaged{Blob: b, Damage: what, Place: place})
	if err != nil || news != want {
		w.t.Fatalf("news: %t, %v; want %t", news, err, want)
	}
}

// damaged are the digests of what is listed, and whether the counts agree.
func (w world) damaged() []meta.Damaged {
	w.t.Helper()
	var all []meta.Damaged
	var after blob.Key
	for {
		page, err := w.Store.ListDamaged(w.t.Context(), after, 1)
		w.must(err)
		if len(page) == 0 {
			break
		}
		all, after = append(all, page...), page[0].Key
	}
	counts, err := w.Store.CountDamaged(w.t.Context())
	w.must(err)
	if int(counts[meta.Lost]+counts[meta.Rotten]) != len(all) {
		w.t.Errorf("counted %v of %d", counts, len(all))
	}
	return all
}

// reported are the events of a verb about a blob.
func (w world) reported(verb string, b meta.Blob) []meta.Event {
	w.t.Helper()
	return slices.DeleteFunc(w.events("", 1000), func(e meta.Event) bool { return e.Verb != verb || e.Target != meta.BlobTarget(b.Digest) })
}

func testDamage(t *testing.T, open Open) {
	t.Run("W63 is reported once, with the repositories, and a push repairs it", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		b, sound := w.push(r, "12345"), w.push(r, "sound")
		w.reports(true, b, meta.Lost)
		w.reports(false, b, meta.Lost)
		found, err := w.Store.FindBlob(t.Context(), r, b.Digest)
		if err != nil || !found.Suspect || found.Damage != meta.Lost {
			t.Errorf("%+v, %v", found, err)
		}
		_, err = w.Store.CheckBlob(t.Context(), r, b.Digest)
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		listed := w.damaged()
		if len(listed) != 1 || listed[0].Key != b.Key || listed[0].Digest != b.Digest || listed[0].Damage != meta.Lost ||
			listed[0].Tenant != "acme" || !slices.Equal(listed[0].Repositories, []string{"tenants/acme/registries/main/repositories/app"}) || listed[0].FoundAt.IsZero() {
			t.Errorf("listed %+v", listed)
		}
		if told := w.reported(meta.BlobLost, b); len(told) != 1 || told[0].Changes != `[{"field":"repository","old":"registries/main/repositories/app","new":""}]` {
			t.Errorf("events %+v", told)
		}
		healed := w.push(r, "12345")
		if healed.Key == b.Key || len(w.damaged()) != 0 {
			t.Errorf("healed at %s, listed %+v", healed.Key, w.damaged())
		}
		w.reports(false, b, meta.Lost) // seen before it was healed
		if found, err = w.Store.FindBlob(t.Context(), r, b.Digest); err != nil || found.Suspect || found.Damage != "" {
			t.Errorf("%+v, %v", found, err)
		}
		if found, err = w.Store.FindBlob(t.Context(), r, sound.Digest); err != nil || found.Suspect {
			t.Errorf("another blob: %+v, %v", found, err)
		}
		w.consistent()
		w.collectAll() // the row of the old object goes, with what was said of it
	})
	t.Run("W64 that is gone again is taken back, and damage of another kind is news", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		b := w.push(r, "12345")
		w.reports(true, b, meta.Lost)
		w.reports(true, b, meta.Rotten)
		for range 2 {
			w.must(w.Store.ClearDamage(t.Context(), cause(), b))
		}
		if found, err := w.Store.CheckBlob(t.Context(), r, b.Digest); err != nil || found.Key != b.Key || len(w.damaged()) != 0 {
			t.Errorf("%+v, %v, listed %+v", found, err, w.damaged())
		}
		w.reports(true, b, meta.Rotten)
		if lost, rotten, back := len(w.reported(meta.BlobLost, b)), len(w.reported(meta.BlobRotten, b)), len(w.reported(meta.BlobRecovered, b)); lost != 1 || rotten != 2 || back != 1 {
			t.Errorf("%d, %d and %d events", lost, rotten, back)
		}
		healed := w.push(r, "12345")
		w.must(w.Store.MarkSuspect(t.Context(), healed))
		w.must(w.Store.ClearDamage(t.Context(), cause(), b)) // of the object before
		if found, err := w.Store.FindBlob(t.Context(), r, b.Digest); err != nil || !found.Suspect {
			t.Errorf("%+v, %v", found, err)
		}
	})
	t.Run("W65 that a read noticed is listed until it is reported or taken back", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		var blobs []meta.Blob
		for _, content := range numbered("layer %d", 3) {
			blobs = append(blobs, w.push(r, content))
			w.must(w.Store.MarkSuspect(t.Context(), blobs[len(blobs)-1]))
		}
		w.push(r, "sound")
		suspects := func() []blob.Key {
			var found []blob.Key
			var after blob.Key
			for {
				page, err := w.Store.ListSuspects(t.Context(), after, 1)
				w.must(err)
				if len(page) == 0 {
					return found
				}
				if row := page[0]; !row.Suspect || row.State != 'L' || row.Blob == "" {
					t.Errorf("listed %+v", row)
				}
				found, after = append(found, page[0].Key), page[0].Key
			}
		}
		if got := suspects(); len(got) != 3 {
			t.Errorf("suspects %v", got)
		}
		w.reports(true, blobs[0], meta.Lost)
		w.must(w.Store.ClearDamage(t.Context(), cause(), blobs[1]))
		if got := suspects(); !slices.Equal(got, []blob.Key{blobs[2].Key}) {
			t.Errorf("suspects %v, want %v", got, blobs[2].Key)
		}
	})
	t.Run("W66 copies are those that upstreams give as they are configured now", func(t *testing.T) {
		w, cached := newCache(t, open)
		b := w.push(w.repo("team/app"), "shared")
		copies := func() []meta.CachedCopy {
			found, err := w.Store.ListCopies(t.Context(), w.tenant, b.Digest, 10)
			w.must(err)
			return found
		}
		if got := copies(); len(got) != 0 {
			t.Errorf("copies %+v", got)
		}
		w.fill(cached, "shared")
		want := meta.CachedCopy{Tenant: w.tenant, TenantSlug: "acme", Upstream: "ghcr", Repository: "library/app"}
		if got := copies(); !slices.Equal(got, []meta.CachedCopy{want}) {
			t.Errorf("copies %+v, want %+v", got, want)
		}
		other, _ := w.addTenant("other", 0)
		if got, err := w.Store.ListCopies(t.Context(), other, b.Digest, 10); err != nil || len(got) != 0 {
			t.Errorf("another tenant's copies: %+v, %v", got, err)
		}
	})
}
