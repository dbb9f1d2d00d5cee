package metatest

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

func (w world) prefetch(slug string) meta.Prefetch {
	return meta.Prefetch{Tenant: w.tenant, Slug: slug, Upstream: "hub", References: []string{"library/app:1"}, Interval: 24 * time.Hour}
}

// claimPrefetch lets another worker claim a run.
func (w world) claimPrefetch() (meta.Prefetch, meta.PrefetchStep, bool) {
	w.t.Helper()
	worker := uuid.New()
	p, ok, err := w.Store.ClaimPrefetch(w.t.Context(), worker, hold)
	w.must(err)
	return p, meta.PrefetchStep{Tenant: p.Tenant, Prefetch: p.Slug, Number: p.Run.Number, Worker: worker, Hold: hold}, ok
}

func testPrefetches(t *testing.T, open Open) {
	t.Run("W237 belong to one tenant, with all that they say", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		p := w.prefetch("base")
		p.DisplayName, p.Patterns, p.Platforms, p.Disabled = "Base", []string{"library/app:v*"}, []string{"linux/amd64"}, true
		by := cause()
		made, err := w.Store.CreatePrefetch(t.Context(), by, p)
		w.must(err)
		want := p
		want.Version, want.CreatedAt, want.UpdatedAt = 1, made.CreatedAt, made.UpdatedAt
		if !reflect.DeepEqual(made, want) {
			t.Errorf("%+v, want %+v", made, want)
		}
		again, err := w.Store.CreatePrefetch(t.Context(), by, p) // the same request again
		w.must(err)
		if !reflect.DeepEqual(again, made) {
			t.Errorf("again: %+v", again)
		}
		_, err = w.Store.CreatePrefetch(t.Context(), cause(), p)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.FindPrefetch(t.Context(), other, "base")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeletePrefetch(t.Context(), cause(), other, "base", 0), fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.RunPrefetch(t.Context(), cause(), w.tenant, "base") // it is disabled
		w.refused(err, fault.Invalid, fault.RequestInvalid)
		if _, _, ok := w.claimPrefetch(); ok {
			t.Error("a disabled one runs")
		}
		made.Version = 7
		_, err = w.Store.UpdatePrefetch(t.Context(), cause(), made)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		made.Version, made.Disabled = 1, false
		made, err = w.Store.UpdatePrefetch(t.Context(), cause(), made)
		w.must(err)
		if made.Version != 2 || made.Run.DueAt.IsZero() {
			t.Errorf("%+v", made)
		}
		w.must(w.Store.DeletePrefetch(t.Context(), cause(), w.tenant, "base", 2))
	})

	t.Run("W238 run on schedule, by one worker at a time, and are continued by another", func(t *testing.T) {
		w := newWorld(t, open)
		_, err := w.Store.CreatePrefetch(t.Context(), cause(), w.prefetch("base"))
		w.must(err)
		p, first, ok := w.claimPrefetch()
		if !ok || p.Run.Number != 1 || p.Run.Listed || p.TenantSlug == "" || p.Slug != "base" {
			t.Fatalf("%+v, %v", p, ok)
		}
		w.addReferences(first, false, "a:1", "b:1", "c:1")
		w.addReferences(first, false, "c:1")
		w.must(w.Store.ListedPrefetch(t.Context(), first))
		w.wantNext(first, "a:1")
		w.must(w.Store.RecordPrefetch(t.Context(), first, "a:1", meta.PrefetchResult{State: meta.PrefetchDone, Bytes: 10}))
		w.must(w.Store.RecordPrefetch(t.Context(), first, "a:1", meta.PrefetchResult{State: meta.PrefetchDone, Bytes: 10})) // counts once
		w.must(w.Store.RecordPrefetch(t.Context(), first, "b:1", meta.PrefetchResult{State: meta.PrefetchPending, Bytes: 5, Failure: "out"}))
		w.wantNext(first, "c:1")
		if _, _, ok := w.claimPrefetch(); ok {
			t.Error("two workers have the run")
		}
		w.Advance(hold + time.Second)
		p, second, ok := w.claimPrefetch()
		if !ok || p.Run.Number != 1 || !p.Run.Listed || p.Run.Limited || p.Run.Total != 3 || p.Run.Done != 1 || p.Run.Bytes != 10 {
			t.Fatalf("%+v, %v", p.Run, ok)
		}
		_, added := w.Store.AddPrefetchReferences(t.Context(), first, []string{"d:1"})
		for _, err := range []error{
			w.Store.HoldPrefetch(t.Context(), first), added,
			w.Store.ListedPrefetch(t.Context(), first), w.Store.EndPrefetch(t.Context(), cause(), first),
			w.Store.RecordPrefetch(t.Context(), first, "c:1", meta.PrefetchResult{State: meta.PrefetchFailed}),
		} {
			w.refused(err, fault.Conflict, fault.EtagMismatch)
		}
		w.must(w.Store.RecordPrefetch(t.Context(), second, "c:1", meta.PrefetchResult{State: meta.PrefetchFailed, Failure: "not here"}))
		w.wantNext(second, "b:1")
		w.must(w.Store.ReleasePrefetch(t.Context(), second, time.Minute, "out"))
		if _, _, ok := w.claimPrefetch(); ok {
			t.Error("it does not wait")
		}
		w.Advance(time.Minute)
		_, third, ok := w.claimPrefetch()
		if !ok {
			t.Fatal("it is not continued")
		}
		w.must(w.Store.RecordPrefetch(t.Context(), third, "b:1", meta.PrefetchResult{State: meta.PrefetchDone, Bytes: 7}))
		if _, found, err := w.Store.NextPrefetch(t.Context(), third); found || err != nil {
			t.Error(found, err)
		}
		w.must(w.Store.EndPrefetch(t.Context(), cause(), third))
		p, err = w.Store.FindPrefetch(t.Context(), w.tenant, "base")
		w.must(err)
		if r := p.Run; r.Done != 2 || r.Failed != 1 || r.Bytes != 22 || r.EndedAt.IsZero() || !r.DueAt.Equal(r.BeganAt.Add(24*time.Hour)) {
			t.Errorf("%+v", r)
		}
		all, err := w.Store.ListPrefetchReferences(t.Context(), w.tenant, "base", meta.Page{After: "a:1", Size: 1})
		w.must(err)
		if len(all) != 1 || all[0].Reference != "b:1" || all[0].Attempts != 2 || all[0].Bytes != 12 {
			t.Errorf("%+v", all)
		}
		w.Advance(24 * time.Hour)
		p, _, ok = w.claimPrefetch()
		if !ok || p.Run.Number != 2 || p.Run.Total != 0 || p.Run.Listed {
			t.Errorf("%+v, %v", p.Run, ok)
		}
		all, err = w.Store.ListPrefetchReferences(t.Context(), w.tenant, "base", meta.Page{Size: 10})
		w.must(err)
		if len(all) != 0 {
			t.Errorf("%+v", all)
		}
	})

	t.Run("W238 have so many references at most, however often they are listed", func(t *testing.T) {
		w := newWorld(t, open)
		_, err := w.Store.CreatePrefetch(t.Context(), cause(), w.prefetch("base"))
		w.must(err)
		_, step, _ := w.claimPrefetch()
		many := func(from, to int) []string {
			var names []string
			for i := from; i < to; i++ {
				names = append(names, fmt.Sprintf("a:%d", i))
			}
			return names
		}
		w.addReferences(step, false, many(0, meta.MaxPrefetched-1)...)
		w.addReferences(step, true, many(meta.MaxPrefetched, meta.MaxPrefetched+2)...)
		w.addReferences(step, true, "b:1")
		p, err := w.Store.FindPrefetch(t.Context(), w.tenant, "base")
		w.must(err)
		if p.Run.Total != meta.MaxPrefetched || !p.Run.Limited {
			t.Errorf("%+v", p.Run)
		}
	})

	t.Run("W238 end with a change, and run when they are asked to", func(t *testing.T) {
		w := newWorld(t, open)
		made, err := w.Store.CreatePrefetch(t.Context(), cause(), w.prefetch("base"))
		w.must(err)
		_, step, ok := w.claimPrefetch()
		if !ok {
			t.Fatal("no run")
		}
		w.addReferences(step, false, "a:1")
		made.Interval = 0
		made, err = w.Store.UpdatePrefetch(t.Context(), cause(), made)
		w.must(err)
		w.refused(w.Store.HoldPrefetch(t.Context(), step), fault.Conflict, fault.EtagMismatch)
		if made.Run.EndedAt.IsZero() || !made.Run.DueAt.IsZero() {
			t.Errorf("%+v", made.Run)
		}
		made, err = w.Store.RunPrefetch(t.Context(), cause(), w.tenant, "base")
		w.must(err)
		if made.Run.DueAt.IsZero() {
			t.Errorf("%+v", made.Run)
		}
		if _, _, ok := w.claimPrefetch(); !ok {
			t.Error("it does not run when it is asked for")
		}
	})
}

// addReferences adds references to a run; limited says that they are not all of them.
func (w world) addReferences(s meta.PrefetchStep, limited bool, references ...string) {
	w.t.Helper()
	got, err := w.Store.AddPrefetchReferences(w.t.Context(), s, references)
	w.must(err)
	if got != limited {
		w.t.Errorf("limited is %v", got)
	}
}

func (w world) wantNext(s meta.PrefetchStep, want string) {
	w.t.Helper()
	next, found, err := w.Store.NextPrefetch(w.t.Context(), s)
	w.must(err)
	if !found || next.Reference != want {
		w.t.Errorf("next is %+v, want %s", next, want)
	}
}
