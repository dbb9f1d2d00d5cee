package fetch

import (
	"errors"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// A fetch asks again for as long as that brings it forward: each try costs a step, and
// each byte that had not come before pays for itself. So a line that breaks after every
// 256 KiB continues to the end, and an upstream that sends one byte and breaks off is
// asked eight times. It is asked at most 8 + size/step times in all (contract row T21).
const (
	mostTries = 8 // without progress

	leastStep = 4 << 10
	mostStep  = 256 << 10
	steps     = 256 // of a blob, if neither bound says otherwise

	// A try that timed out costs as much as three that failed at once, and every ten
	// seconds that an upstream wants to be left alone as much as one, so that readers
	// wait at most about two minutes for a byte.
	timeoutCost = 3
	waitCost    = 10 * time.Second

	leastWait = 250 * time.Millisecond // doubled with each step of debt
	mostWait  = 4 * time.Second

	// mostRepeats is how often the size of the blob may come again, from an upstream that
	// ignores ranges.
	mostRepeats = 2
)

// budget bounds the tries of one fetch.
type budget struct {
	debt     int64 // cost of the tries that was not paid for, in bytes
	repeated int64 // bytes that came again
}

// try is a try that broke off.
type try struct {
	came    int64 // bytes
	fresh   int64 // those that had not come before
	written int64 // all fresh bytes of the flight
	size    int64 // of the blob; -1 = not known
	err     error
}

// spend charges a try. It returns how long to wait before the next, 0 after enough
// progress. It returns false if no try is left.
func (b *budget) spend(t try) (time.Duration, bool) {
	size := max(t.size, t.written)
	step := min(max(size/steps, leastStep), mostStep)
	pause := leftAlone(t.err)
	cost := 1 + int64((pause+waitCost-1)/waitCost)
	if fault.KindOf(t.err) == fault.UpstreamTimeout {
		cost = timeoutCost
	}
	b.debt = max(b.debt+cost*step-t.fresh, 0)
	b.repeated += t.came - t.fresh
	if b.debt > (mostTries-1)*step || b.repeated > 0 && b.repeated+t.written > mostRepeats*size {
		return 0, false
	}
	if b.debt == 0 {
		return pause, true
	}
	return max(pause, min(leastWait<<((b.debt-1)/step), mostWait)), true
}

// leftAlone is how long the upstream wants to be left alone.
func leftAlone(err error) time.Duration {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.RetryAfter
	}
	return 0
}
