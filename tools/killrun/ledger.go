package main

import (
	"fmt"
	"sync"
	"time"
)

// ledger remembers every write to registers, each named by a key and holding a
// string, and says which values a read may see. Writes that were never
// answered may have happened at any time after they began, or not at all.
type ledger struct {
	mu     sync.Mutex
	writes map[string][]*write
}

type write struct {
	value      string
	start, end time.Time // end is zero while there is no answer
	refused    bool      // an answer said that it did not happen
}

func newLedger() *ledger { return &ledger{writes: map[string][]*write{}} }

// begin records a write before it is sent.
func (l *ledger) begin(key, value string) *write {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &write{value: value, start: time.Now()}
	l.writes[key] = append(l.writes[key], w)
	return w
}

// acknowledge records that the write was answered with success.
func (l *ledger) acknowledge(w *write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.end = time.Now()
}

// refuse records that the answer said the write did not happen.
func (l *ledger) refuse(w *write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.refused = true
}

// check says whether a read of key that ran from start to end may have seen
// value: some write of it began before the read ended, and no acknowledged
// write lies wholly between the end of that one and the start of the read.
func (l *ledger) check(key, value string, start, end time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// The register is empty before its first write.
	candidates := append([]*write{{end: time.Time{}.Add(1)}}, l.writes[key]...)
	for _, c := range candidates {
		if c.value == value && !c.refused && c.start.Before(end) && !l.overwritten(key, c, start) {
			return nil
		}
	}
	return fmt.Errorf("%s holds %q, which no order of the acknowledged writes explains:\n%s", key, value, l.history(key))
}

// overwritten says whether an acknowledged write other than c lies between the
// end of c and the moment before.
func (l *ledger) overwritten(key string, c *write, before time.Time) bool {
	if c.end.IsZero() {
		return false // it may happen as late as it likes
	}
	for _, w := range l.writes[key] {
		if w != c && !w.end.IsZero() && w.start.After(c.end) && w.end.Before(before) {
			return true
		}
	}
	return false
}

// keys are the registers that have been written to.
func (l *ledger) keys() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := make([]string, 0, len(l.writes))
	for k := range l.writes {
		keys = append(keys, k)
	}
	return keys
}

// history is what is known of a register, for a message.
func (l *ledger) history(key string) string {
	var s string
	first := time.Time{}
	for _, w := range l.writes[key] {
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

func (l *ledger) count(match func(*write) bool) int {
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

func (l *ledger) acknowledged() int { return l.count(func(w *write) bool { return !w.end.IsZero() }) }

func (l *ledger) lost() int {
	return l.count(func(w *write) bool { return w.end.IsZero() && !w.refused })
}
