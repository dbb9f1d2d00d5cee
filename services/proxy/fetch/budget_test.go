package fetch

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/pkg/fault"
)

var errCut = errors.New("cut")

// line plays a source that gives so many bytes of a blob at a time, always from where it
// is asked, and returns the number of tries and whether the blob came.
func line(size, each int64, err error) (int, bool) {
	var b budget
	for tries, written := 1, int64(0); ; tries++ {
		fresh := min(each, size-written)
		if written += fresh; written == size {
			return tries, true
		}
		if _, again := b.spend(try{came: fresh, fresh: fresh, written: written, size: size, err: err}); !again {
			return tries, false
		}
	}
}

func TestT21_TriesAreBoundedByProgress(t *testing.T) {
	timeout := fault.New(fault.UpstreamTimeout, fault.UnavailableReason, "too slow")
	for name, c := range map[string]struct {
		size, each int64
		err        error
		tries      int
		whole      bool
	}{
		"10 MB of 30":            {30 << 20, 10 << 20, errCut, 3, true},
		"50 MB of 3 GiB":         {3 << 30, 50 << 20, errCut, 62, true},
		"256 KiB of 1 GiB":       {1 << 30, 256 << 10, errCut, 4096, true},
		"1 byte":                 {1 << 30, 1, errCut, 8, false},
		"1 byte of few":          {1000, 1, errCut, 8, false},
		"nothing":                {1 << 30, 0, errCut, 8, false},
		"nothing, in time":       {1 << 30, 0, timeout, 3, false},
		"half of a step":         {1 << 30, 128 << 10, errCut, 15, false},
		"64 KiB, and it is slow": {16 << 20, 64 << 10, timeout, 4, false},
	} {
		if tries, whole := line(c.size, c.each, c.err); tries != c.tries || whole != c.whole {
			t.Errorf("%s: %d tries, whole %v; want %d, %v", name, tries, whole, c.tries, c.whole)
		}
	}
}

// TestT21_NoUpstreamIsAskedWithoutEnd: whatever it sends, in whatever order.
func TestT21_NoUpstreamIsAskedWithoutEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 1<<28).Draw(t, "size")
		step := min(max(size/steps, leastStep), mostStep)
		var b budget
		var written, came int64
		for tries := int64(1); ; tries++ {
			fresh := min(rapid.OneOf(rapid.Int64Range(0, 2*step), rapid.Int64Range(0, 10), rapid.Int64Range(0, size)).Draw(t, "fresh"), size-written)
			again := rapid.SampledFrom([]int64{0, written}).Draw(t, "repeated")
			written, came = written+fresh, came+fresh+again
			_, more := b.spend(try{came: fresh + again, fresh: fresh, written: written, size: size, err: errCut})
			if most := mostTries + size/step; tries > most {
				t.Fatalf("%d tries for %d bytes, more than %d", tries, size, most)
			}
			if came > (1+mostRepeats)*size {
				t.Fatalf("%d bytes came of a blob of %d", came, size)
			}
			if !more {
				return
			}
		}
	})
}

func TestT24_WaitsAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		err   *fault.Error
		waits []time.Duration
	}{
		"an outage":            {fault.New(fault.BadUpstream, fault.UnavailableReason, ""), []time.Duration{leastWait, 2 * leastWait, 4 * leastWait, 8 * leastWait, mostWait, mostWait, mostWait}},
		"limited, for seconds": {fault.New(fault.TooMany, fault.TooManyRequests, "").WithRetryAfter(5 * time.Second), []time.Duration{5 * time.Second, 5 * time.Second, 5 * time.Second}},
		"limited, for long":    {fault.New(fault.TooMany, fault.TooManyRequests, "").WithRetryAfter(time.Minute), []time.Duration{time.Minute}},
		"limited, for longer":  {fault.New(fault.TooMany, fault.TooManyRequests, "").WithRetryAfter(5 * time.Minute), nil},
	} {
		b, waits := budget{}, []time.Duration(nil)
		for {
			wait, again := b.spend(try{written: 1 << 20, size: 1 << 30, err: c.err})
			if !again {
				break
			}
			waits = append(waits, wait)
		}
		if !slices.Equal(waits, c.waits) {
			t.Errorf("%s: %v, want %v", name, waits, c.waits)
		}
	}
}
