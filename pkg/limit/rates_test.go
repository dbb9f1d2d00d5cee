package limit

import (
	"context"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// timed makes Rates with a clock of their own.
func timed() (*Rates, *time.Time) {
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := NewRates()
	r.now = func() time.Time { return clock }
	return r, &clock
}

var (
	acme  = Key{"requests", 1, ""}
	other = Key{"requests", 2, ""}
)

func TestW230_ARateIsHeldTo(t *testing.T) {
	r, clock := timed()
	for i := range 200 {
		if wait := r.Take(acme, 100, 1); wait != 0 {
			t.Fatalf("request %d of what two seconds bring: %s", i+1, wait)
		}
	}
	if wait := r.Take(acme, 100, 1); wait != 10*time.Millisecond {
		t.Errorf("one more: %s", wait)
	}
	if wait := r.Take(other, 100, 1); wait != 0 {
		t.Errorf("another tenant: %s", wait)
	}
	*clock = clock.Add(10 * time.Millisecond)
	if first, second := r.Take(acme, 100, 1), r.Take(acme, 100, 1); first != 0 || second == 0 {
		t.Errorf("after Retry-After: %s, %s", first, second)
	}
	*clock = clock.Add(time.Hour)
	n := 0
	for r.Take(acme, 100, 1) == 0 {
		n++
	}
	if n != 200 {
		t.Errorf("%d at once after an hour", n)
	}
}

func TestW230_ALowRateIsSavedUpToo(t *testing.T) {
	r, _ := timed()
	n := 0
	for r.Take(acme, 1, 1) == 0 {
		n++
	}
	if n != leastSaved {
		t.Errorf("%d at once of 1 a second", n)
	}
}

func TestW230_WhatWasSpentIsOwed(t *testing.T) {
	r, clock := timed()
	if wait := r.Spend(acme, 100, 500); wait != 3*time.Second {
		t.Errorf("300 are owed: %s", wait)
	}
	*clock = clock.Add(time.Second)
	if wait := r.Spend(acme, 100, 0); wait != 2*time.Second {
		t.Errorf("a second later: %s", wait)
	}
	if wait := r.Spend(acme, 100, math.MaxInt64); wait != maxOwed {
		t.Errorf("more than can be owed: %s", wait)
	}
}

// processes are three that tell one another what they use of one key.
type processes struct {
	rates []*Rates
	total int64
}

func newProcesses(clock *time.Time) *processes {
	p := &processes{}
	for range 3 {
		r := NewRates()
		r.now = func() time.Time { return *clock }
		r.Untold(0)
		r.SetMembers(3)
		p.rates = append(p.rates, r)
	}
	return p
}

// exchange is one of limit/redislimit.
func (p *processes) exchange() {
	for _, r := range p.rates {
		for _, u := range r.Untold(10) {
			p.total += u.N
			r.Told(u, p.total)
		}
	}
}

// Processes that tell one another hold a key to its rate together, whichever of them is
// asked and when, and none of them refuses a key that is within it everywhere.
func TestW231_ProcessesShareARate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const rate, steps = 50, 400
		const step = 50 * time.Millisecond // four of them to an exchange
		clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		nodes := newProcesses(&clock)
		ask := rapid.SampledFrom([]int{1, 2, 30}).Draw(t, "asked a step") // 20 or 40 a second are within the rate
		var let, refused int64
		for i := range steps {
			at := rapid.IntRange(0, 2).Draw(t, "node")
			for range ask {
				if nodes.rates[at].Take(acme, rate, 1) == 0 {
					let++
				} else {
					refused++
				}
			}
			clock = clock.Add(step)
			if i%4 != 3 {
				continue
			}
			nodes.exchange()
		}
		took := step * steps
		// Each process may first let through what it had saved, and between exchanges what came.
		if most := int64(rate*took.Seconds()) + 3*2*rate + 3*rate; let > most {
			t.Errorf("%d in %s, %d at most", let, took, most)
		}
		if ask <= 2 && refused > 0 {
			t.Errorf("%d of %d a second were refused", refused, 20*ask)
		}
		if least := int64(rate*took.Seconds()) * 8 / 10; ask == 30 && let < least {
			t.Errorf("only %d in %s", let, took)
		}
	})
}

// A key that is asked for ten times its rate everywhere is let through evenly, and not by all
// processes at once and then by none, which would be felt by others.
func TestW231_ProcessesLetThroughEvenly(t *testing.T) {
	const rate, perTick = 100, 20
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	nodes := newProcesses(&clock)
	for tick := range 100 {
		let := 0
		for range 200 {
			clock = clock.Add(time.Millisecond)
			for _, n := range nodes.rates {
				if n.Take(acme, rate, 1) == 0 {
					let++
				}
			}
		}
		if tick > 25 && (let < perTick*3/4 || let > perTick*5/4) { // by then, what was saved is used up, and was paid back
			t.Errorf("at tick %d: %d of %d", tick, let, perTick)
		}
		nodes.exchange()
	}
}

// Nothing that others say makes a key wait for longer than its rate takes to bring what can
// be used at once, twice.
func TestW231_OthersSayAnything(t *testing.T) {
	for _, total := range []int64{math.MaxInt64, math.MinInt64, -1, 0} {
		r, clock := timed()
		r.Untold(0)
		for range 3 {
			r.Take(acme, 10, 1)
			for _, u := range r.Untold(1) {
				r.Told(u, 5)
				*clock = clock.Add(time.Second)
				r.Told(u, total)
			}
		}
		if wait := r.Take(acme, 10, 1); wait > 5*time.Second {
			t.Errorf("%d: %s", total, wait)
		}
	}
}

func TestW231_AShareOfARate(t *testing.T) {
	r, clock := timed()
	r.SetShare(1.0 / 4)
	for r.Take(acme, 400, 1) == 0 {
	}
	*clock = clock.Add(time.Second)
	n := 0
	for r.Take(acme, 400, 1) == 0 {
		n++
	}
	if n != 100 {
		t.Errorf("%d a second of a fourth of 400", n)
	}
}

func TestW233_SlotsAreHeldAtOnce(t *testing.T) {
	s := NewSlots()
	first, err := s.Acquire(t.Context(), acme, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, err := s.Acquire(ctx, acme, 1); err == nil {
		t.Error("two at once of one")
	}
	another, err := s.Acquire(t.Context(), other, 1)
	if err != nil {
		t.Errorf("another key waits: %v", err)
	}
	first()
	second, err := s.Acquire(t.Context(), acme, 1)
	if err != nil {
		t.Fatal(err)
	}
	second()
	another()
	if len(s.keys) != 0 {
		t.Errorf("%d keys are remembered that no one holds", len(s.keys))
	}
}

func BenchmarkTake(b *testing.B) {
	r := NewRates()
	for b.Loop() {
		r.Take(acme, 1<<40, 1)
	}
}
