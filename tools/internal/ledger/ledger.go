// Package ledger remembers writes to tags, manifests and blobs with their answers,
// and says which values a later read may see.
package ledger

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// Ledger holds writes to registers, which are empty before the first write. Writes that were never answered may
// have happened at any time after they began, or not at all. It is safe for
// concurrent use.
type Ledger struct {
	mu     sync.Mutex
	writes map[Register][]*Write
}

// Write is one write. Its outcome is unknown until it is acknowledged or
// refused.
type Write struct {
	value      string
	start, end time.Time // end is zero while there is no answer
	refused    bool      // an answer said that it did not happen
}

// New returns an empty ledger.
func New() *Ledger { return &Ledger{writes: map[Register][]*Write{}} }

// Begin records a write before it is sent.
func (l *Ledger) Begin(r Register, value string) *Write {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &Write{value: value, start: time.Now()}
	l.writes[r] = append(l.writes[r], w)
	return w
}

// Acknowledge records that the write was answered with success.
func (l *Ledger) Acknowledge(w *Write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.end = time.Now()
}

// Refuse records that the answer said the write did not happen.
func (l *Ledger) Refuse(w *Write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.refused = true
}

// Check says whether a read of r that ran from start to end may have seen
// value: some write of it began before the read ended, and no acknowledged
// write lies wholly between the end of that one and the start of the read.
func (l *Ledger) Check(r Register, value string, start, end time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// The register is empty before its first write.
	candidates := append([]*Write{{end: time.Time{}.Add(1)}}, l.writes[r]...)
	for _, c := range candidates {
		if c.value == value && !c.refused && c.start.Before(end) && !l.overwritten(r, c, start) {
			return nil
		}
	}
	return fmt.Errorf("%s holds %q, which no order of the acknowledged writes explains:\n%s", r, value, l.history(r))
}

// overwritten says whether an acknowledged write other than c lies between the
// end of c and the moment before.
func (l *Ledger) overwritten(r Register, c *Write, before time.Time) bool {
	if c.end.IsZero() {
		return false // it may happen as late as it likes
	}
	for _, w := range l.writes[r] {
		if w != c && !w.end.IsZero() && w.start.After(c.end) && w.end.Before(before) {
			return true
		}
	}
	return false
}

// Registers are those that have been written to, in an order that is always the same.
func (l *Ledger) Registers() []Register {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Sorted(maps.Keys(l.writes))
}

// history is what is known of a register, for a message.
func (l *Ledger) history(r Register) string {
	var s string
	first := time.Time{}
	for _, w := range l.writes[r] {
		if first.IsZero() {
			first = w.start
		}
		switch {
		case w.refused:
			s += fmt.Sprintf("  %v..      %q refused\n", w.start.Sub(first), w.value)
		case w.end.IsZero():
			s += fmt.Sprintf("  %v..      %q without an answer\n", w.start.Sub(first), w.value)
		default:
			s += fmt.Sprintf("  %v..%v %q\n", w.start.Sub(first), w.end.Sub(first), w.value)
		}
	}
	return s
}

func (l *Ledger) count(match func(*Write) bool) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, writes := range l.writes {
		for _, w := range writes {
			if match(w) {
				n++
			}
		}
	}
	return n
}

// Acknowledged is how many writes were answered with success.
func (l *Ledger) Acknowledged() int {
	return l.count(func(w *Write) bool { return !w.end.IsZero() })
}

// Lost is how many writes have an unknown outcome.
func (l *Ledger) Lost() int {
	return l.count(func(w *Write) bool { return w.end.IsZero() && !w.refused })
}
