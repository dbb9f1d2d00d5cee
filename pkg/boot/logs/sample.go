package logs

import (
	"sync"
	"time"
)

// The maximum of lines of one kind, its period, and how many kinds are distinguished:
// others share one count.
const (
	SampledLines = 100
	SamplePeriod = 10 * time.Second
	maxKinds     = 512
)

// Sampler keeps repeated lines, caused by clients or an outage, from filling the log.
// It is safe for concurrent use.
type Sampler[K comparable] struct {
	others func(K) K
	report func(k K, left int)

	mu     sync.Mutex
	counts map[K]*sampleCount
	armed  bool
}

type sampleCount struct{ told, left int }

// NewSampler makes a Sampler. others returns the shared kind for kinds that are not
// distinguished; report gets the number of lines of a kind that a period omitted.
func NewSampler[K comparable](others func(K) K, report func(k K, left int)) *Sampler[K] {
	return &Sampler[K]{others: others, report: report, counts: map[K]*sampleCount{}}
}

// May reports whether to write a line of the kind.
func (s *Sampler[K]) May(k K) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.armed {
		s.armed = true
		time.AfterFunc(SamplePeriod, s.End)
	}
	c := s.counts[k]
	if c == nil && len(s.counts) >= maxKinds {
		k = s.others(k)
		c = s.counts[k]
	}
	if c == nil {
		c = &sampleCount{}
		s.counts[k] = c
	}
	if c.told == SampledLines {
		c.left++
		return false
	}
	c.told++
	return true
}

// End ends the period early, and reports omitted lines.
func (s *Sampler[K]) End() {
	s.mu.Lock()
	counts := s.counts
	s.counts, s.armed = map[K]*sampleCount{}, false
	s.mu.Unlock()
	for k, c := range counts {
		if c.left > 0 {
			s.report(k, c.left)
		}
	}
}
