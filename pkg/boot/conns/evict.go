package conns

import (
	"cmp"
	"slices"
	"time"
)

// scanCost is the minimum time per connection between scans: a scan of n connections
// is not repeated before n*scanCost, so that a flood costs a bounded share of a
// processor.
const scanCost = 4 * time.Microsecond

// scanKept is how many of those found are kept at most, of each so many: what weighs
// most changes as they are closed.
const (
	scanKept    = 32
	minScanKept = 128
)

// youngFor is how long a new connection is spared while others can be closed: until its
// first byte, which with TLS takes several round trips.
const youngFor = 500 * time.Millisecond

// candidates are the connections that may be closed, least useful first.
type candidates struct {
	list  []candidate
	made  time.Time
	after time.Duration // when they may be made again
}

type candidate struct {
	conn   *Conn
	phase  phase
	since  time.Time
	weight int // of its origin
	rank   int // lower ranks are closed first
}

// rankOf is the order of phases, except that young silent connections come last. A
// connection with a transfer counts as busy.
func rankOf(p phase, since, now time.Time) int {
	if p == silent && now.Sub(since) < youngFor {
		return int(stalled) + 1
	}
	return int(p)
}

// next returns the first that is still what it was, of the given connections; nil
// where none may be closed.
func (s *candidates) next(now time.Time, all map[*Conn]struct{}, weigh func(*Conn) int) *Conn {
	for fresh := false; ; fresh = true {
		for len(s.list) > 0 {
			c := s.list[0]
			s.list = s.list[1:]
			if _, held := all[c.conn]; !held {
				continue
			}
			if phase, since := c.conn.state(now); phase == c.phase && (phase == stalled || since.Equal(c.since)) {
				return c.conn
			}
		}
		if fresh || now.Sub(s.made) < s.after {
			return nil
		}
		s.scan(now, all, weigh)
	}
}

func (s *candidates) scan(now time.Time, all map[*Conn]struct{}, weigh func(*Conn) int) {
	s.made, s.after = now, time.Duration(len(all))*scanCost
	s.list = make([]candidate, 0, len(all))
	for c := range all {
		if phase, since := c.state(now); phase != busy {
			s.list = append(s.list, candidate{c, phase, since, weigh(c), rankOf(phase, since, now)})
		}
	}
	slices.SortFunc(s.list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.rank, b.rank), a.since.Compare(b.since))
	})
	s.list = slices.Clone(s.list[:min(len(s.list), max(len(all)/scanKept, minScanKept))])
}
