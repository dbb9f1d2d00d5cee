package main

import (
	"math/rand/v2"
	"testing"

	"github.com/berth-registry/berth/pkg/dice"
)

func TestPlanTakesEachPointOnceBeforeAnyTwice(t *testing.T) {
	surveys := []survey{
		{operation{name: "a"}, []step{{"write", 30}, {"sync", 1}}},
		{operation{name: "none"}, nil},
		{operation{name: "b"}, []step{{"write", 5}}},
	}
	const total = 36
	next := plan(rand.New(rand.NewPCG(dice.Seed(t), 0)), surveys)
	for round := range 3 {
		seen := map[string]bool{}
		for i := range total {
			p := next()
			p.second = step{}
			if seen[p.String()] {
				t.Fatalf("round %d: %v came twice in %d", round, p, i+1)
			}
			seen[p.String()] = true
			if i == 2 && !seen["a / sync #1"] {
				t.Errorf("round %d: the first three points are not one of each kind: %v", round, seen)
			}
		}
	}
}

func TestWatchKillsOnceAtItsTarget(t *testing.T) {
	w := &watch{}
	if w.reach("write") {
		t.Error("killed before it was armed")
	}
	w.arm(step{"write", 2})
	_ = w.blind(func() error {
		for range 2 {
			if w.reach("write") {
				t.Error("killed while it was not to look")
			}
		}
		return nil
	})
	for i, want := range []bool{false, true, false} {
		if got := w.reach("write"); got != want {
			t.Errorf("write %d: kill %v, want %v", i+1, got, want)
		}
	}
	w.rearm(step{"write", 1})
	if w.killed() || !w.reach("write") || w.reach("write") {
		t.Error("killed at another than the second target")
	}
	if n := w.disarm(); n != 2 || w.reach("write") {
		t.Errorf("%d kills, want 2, and none after that", n)
	}
}
