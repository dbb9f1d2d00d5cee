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
