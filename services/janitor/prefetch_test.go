package janitor_test

import (
	"context"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/janitor"
)

// TestW241_APrefetchWaitsForItsUpstream: a limited upstream is left alone for as long as it asks,
// which is no attempt; an outage is tried again, and what is denied is not.
func TestW241_APrefetchWaitsForItsUpstream(t *testing.T) {
	w := newWorld(t)
	_, err := w.Meta.CreatePrefetch(t.Context(), fronttest.By(), meta.Prefetch{
		Tenant: w.repo.Tenant, Slug: "base", Upstream: "hub", Interval: time.Hour, References: []string{"a:1", "b:1", "c:1"},
	})
	w.must(err)
	answers := map[string]error{
		"a": fault.New(fault.TooMany, fault.TooManyRequests, "limited").WithRetryAfter(10 * time.Minute),
		"b": fault.New(fault.Denied, fault.DeniedReason, "denied"),
		"c": fault.New(fault.BadUpstream, fault.UnavailableReason, "out"),
	}
	asked := map[string]int{}
	p := janitor.NewPrefetcher(janitor.PrefetchConfig{Meta: w.Meta, Fetch: func(_ context.Context, _ meta.Prefetch, name string, _ oci.Reference) (oci.Digest, int64, error) {
		asked[name]++
		return "", 1, answers[name]
	}})
	step := func(wait time.Duration, want bool) {
		t.Helper()
		w.now = w.now.Add(wait)
		if worked, err := p.Step(t.Context()); worked != want || err != nil {
			t.Fatalf("after %s: %v, %v", wait, worked, err)
		}
	}
	step(0, true)
	step(9*time.Minute, false)
	if asked["a"] != 1 || asked["b"] != 0 {
		t.Errorf("%v", asked)
	}
	answers["a"] = nil
	step(time.Minute+time.Second, true)
	if asked["a"] != 2 || asked["b"] != 1 || asked["c"] != 1 {
		t.Errorf("%v", asked)
	}
	answers["c"] = nil
	step(time.Hour, true) // the wait of the run, and of the reference
	found, err := w.Meta.FindPrefetch(t.Context(), w.repo.Tenant, "base")
	w.must(err)
	if r := found.Run; r.Total != 3 || r.Done != 2 || r.Failed != 1 || r.EndedAt.IsZero() {
		t.Errorf("%+v", r)
	}
}

// TestW241_AListThatFailsHoldsNothingUp: what is named and what other patterns match is fetched
// meanwhile, and the list is tried as a reference is.
func TestW241_AListThatFailsHoldsNothingUp(t *testing.T) {
	w := newWorld(t)
	_, err := w.Meta.CreatePrefetch(t.Context(), fronttest.By(), meta.Prefetch{
		Tenant: w.repo.Tenant, Slug: "base", Upstream: "hub", Interval: time.Hour,
		References: []string{"a:1"}, Patterns: []string{"b:*", "c:*", "d:*"},
	})
	w.must(err)
	lists := map[string]error{
		"b": fault.New(fault.BadUpstream, fault.UnavailableReason, "out"),
		"d": fault.New(fault.NotFound, fault.NameUnknown, "gone"),
	}
	var fetched []string
	listed := map[string]int{}
	p := janitor.NewPrefetcher(janitor.PrefetchConfig{
		Meta: w.Meta,
		Fetch: func(_ context.Context, _ meta.Prefetch, name string, ref oci.Reference) (oci.Digest, int64, error) {
			fetched = append(fetched, name+":"+ref.Tag)
			return "", 1, nil
		},
		Tags: func(_ context.Context, _ meta.Prefetch, name, _ string) ([]string, bool, error) {
			listed[name]++
			return []string{"1"}, false, lists[name]
		},
	})
	run := func() meta.PrefetchRun {
		t.Helper()
		w.now = w.now.Add(30 * time.Minute)
		if worked, err := p.Step(t.Context()); !worked || err != nil {
			t.Fatal(worked, err)
		}
		found, err := w.Meta.FindPrefetch(t.Context(), w.repo.Tenant, "base")
		w.must(err)
		return found.Run
	}
	if r := run(); len(fetched) != 2 || r.Done != 2 || r.Failed != 1 || !r.EndedAt.IsZero() {
		t.Errorf("%q, %+v", fetched, r)
	}
	lists["b"] = nil
	// a:1, c:1 and b:1, and the pattern of b itself; that of d failed
	if r := run(); len(fetched) != 3 || r.Total != 5 || r.Done != 4 || r.Failed != 1 || r.EndedAt.IsZero() {
		t.Errorf("%q, %+v", fetched, r)
	}
	if listed["b"] != 3 || listed["c"] != 1 || listed["d"] != 2 {
		t.Errorf("%v", listed)
	}
}

// TestW241_AFullCacheIsNotFilledAgain: what the cache does not keep is not fetched again in the
// run, which waits after three.
func TestW241_AFullCacheIsNotFilledAgain(t *testing.T) {
	w := newWorld(t)
	_, err := w.Meta.CreatePrefetch(t.Context(), fronttest.By(), meta.Prefetch{
		Tenant: w.repo.Tenant, Slug: "base", Upstream: "hub", Interval: time.Hour, References: []string{"a:1", "a:2", "a:3", "a:4"},
	})
	w.must(err)
	asked := 0
	p := janitor.NewPrefetcher(janitor.PrefetchConfig{Meta: w.Meta, Fetch: func(context.Context, meta.Prefetch, string, oci.Reference) (oci.Digest, int64, error) {
		asked++
		return "", 1, fault.New(fault.Full, fault.UnavailableReason, "no room")
	}})
	for i, want := range []int{3, 3, 4} {
		if _, err := p.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if asked != want {
			t.Errorf("at step %d: %d fetched", i, asked)
		}
		w.now = w.now.Add(31 * time.Second)
	}
	found, err := w.Meta.FindPrefetch(t.Context(), w.repo.Tenant, "base")
	w.must(err)
	if r := found.Run; r.Failed != 4 || r.EndedAt.IsZero() || r.Failure != "" {
		t.Errorf("%+v", r)
	}
}
