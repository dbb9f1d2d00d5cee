package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// How many lines of refusals and failures an address has at most, in which time, and how many
// addresses are told apart: more share one count. All other lines are written.
const (
	maxRefusalLines = 100
	refusalPeriod   = 10 * time.Second
	maxRefused      = 256
)

// RefusalSampler keeps storms of refusals, and of failures, from filling the log. It is
// safe for concurrent use.
type RefusalSampler struct {
	listener string
	log      *slog.Logger
	period   time.Duration

	mu     sync.Mutex
	counts map[netip.Prefix]*refusalCount
	armed  bool
}

type refusalCount struct{ told, left int }

// NewRefusalSampler makes one for the lines of a listener.
func NewRefusalSampler(listener string, log *slog.Logger) *RefusalSampler {
	return &RefusalSampler{listener: listener, log: log, period: refusalPeriod, counts: map[netip.Prefix]*refusalCount{}}
}

// May says whether the line of an answer is written.
func (s *RefusalSampler) May(client netip.Addr, status int) bool {
	if status < http.StatusBadRequest {
		return true
	}
	bits := 64
	if client.Is4() {
		bits = 32
	}
	network, _ := client.Prefix(bits) // of no address it is that of all others
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.armed {
		s.armed = true
		time.AfterFunc(s.period, s.end)
	}
	c := s.counts[network]
	if c == nil && len(s.counts) >= maxRefused {
		network = netip.Prefix{}
		c = s.counts[network]
	}
	if c == nil {
		c = &refusalCount{}
		s.counts[network] = c
	}
	if c.told == maxRefusalLines {
		c.left++
		return false
	}
	c.told++
	return true
}

// end begins another period, and tells what the last one left out.
func (s *RefusalSampler) end() {
	s.mu.Lock()
	counts := s.counts
	s.counts, s.armed = map[netip.Prefix]*refusalCount{}, false
	s.mu.Unlock()
	for network, c := range counts {
		if c.left == 0 {
			continue
		}
		client := "others"
		if network.IsValid() {
			client = network.Addr().String()
		}
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "more requests were refused than the log tells of",
			slog.String("listener", s.listener), slog.String("client", client), slog.Int("left_out", c.left), slog.String("period", s.period.String()))
	}
}
