package logs

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// How many lines with the same message are written at most, in which time, and how many
// messages are told apart: more share one count. Lines of level Info are written all:
// they are one for each request that is served, or for what an operator does.
const (
	maxLines   = 100
	linePeriod = 10 * time.Second
	maxSampled = 512
)

// sampler keeps what clients, or a server that is down, can bring about again and again
// from filling the log.
type sampler struct {
	next   slog.Handler
	period time.Duration

	mu     sync.Mutex
	counts map[sampled]*sampleCount
	armed  bool
}

type sampled struct {
	level   slog.Level
	message string
}

type sampleCount struct{ told, left int }

func newSampler(next slog.Handler) *sampler {
	return &sampler{next: next, period: linePeriod, counts: map[sampled]*sampleCount{}}
}

// may says whether the line is written.
func (s *sampler) may(level slog.Level, message string) bool {
	if level == slog.LevelInfo {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.armed {
		s.armed = true
		time.AfterFunc(s.period, s.end)
	}
	key := sampled{level, message}
	c := s.counts[key]
	if c == nil && len(s.counts) >= maxSampled {
		key = sampled{level, "others"}
		c = s.counts[key]
	}
	if c == nil {
		c = &sampleCount{}
		s.counts[key] = c
	}
	if c.told == maxLines {
		c.left++
		return false
	}
	c.told++
	return true
}

// end begins another period, and tells what the last one left out.
func (s *sampler) end() {
	s.mu.Lock()
	counts := s.counts
	s.counts, s.armed = map[sampled]*sampleCount{}, false
	s.mu.Unlock()
	for key, c := range counts {
		if c.left == 0 {
			continue
		}
		r := slog.NewRecord(time.Now(), max(key.level, slog.LevelWarn), "lines with the same message were left out", 0)
		r.AddAttrs(slog.String("message", key.message), slog.Int("left_out", c.left), slog.String("period", s.period.String()))
		_ = s.next.Handle(context.Background(), r) // as a line that cannot be written
	}
}
