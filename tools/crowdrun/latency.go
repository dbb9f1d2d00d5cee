package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// latencies collects how long calls took. Safe for concurrent use.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

// add notes one call that began at the given time and has ended now.
func (l *latencies) add(began time.Time) {
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, took)
}

// percentile is the time within which p of 100 calls ended; 0 of none.
func (l *latencies) percentile(p int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(l.all))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}

// String is the figures as a scenario prints them.
func (l *latencies) String() string {
	l.mu.Lock()
	n := len(l.all)
	l.mu.Unlock()
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d calls, p50 %s, p99 %s, longest %s",
		n, round(l.percentile(50)), round(l.percentile(99)), round(l.percentile(100)))
}
