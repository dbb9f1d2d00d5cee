package conns

import (
	"cmp"
	"slices"
	"time"
)

// scanCost is what looking at one connection may take of the time: a scan of n is not
// repeated before n times as long has passed, so that a flood costs a bounded share of
// a processor.
const scanCost = 4 * time.Microsecond

// scanKept is how many of those found are kept at most, of each so many: what weighs
// most changes as they are closed.
const (
	scanKept    = 32
	minScanKept = 128
)

// youngFor is how long a new connection is spared while others can be closed: it takes
// a moment until its first byte is there.
const youngFor = 50 * time.Millisecond

// candidates are connections that may be closed, those that are missed least first.
type candidates struct {
	list  []candidate
	made  time.Time
	after time.Duration // when they may be made again
}

type candidate struct {
	conn   *Conn
	phase  phase
	since  time.Time
	weight int  // of its origin
	young  bool // it may say something at any moment
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
			s.list = append(s.list, candidate{c, phase, since, weigh(c), phase == silent && now.Sub(since) < youngFor})
		}
	}
	slices.SortFunc(s.list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), compareBool(a.young, b.young), cmp.Compare(a.phase, b.phase), a.since.Compare(b.since))
	})
	s.list = slices.Clone(s.list[:min(len(s.list), max(len(all)/scanKept, minScanKept))])
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
