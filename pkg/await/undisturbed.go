package await

import (
	"testing"
	"time"
)

// How a standstill is seen, and how often an attempt is made at most.
const (
	heartbeat   = 5 * time.Millisecond
	maxAttempts = 20
)

// Undisturbed fails the test with the error of attempt. It is for what only a running clock
// can show: where this process stood still for longer than most meanwhile, as on a machine
// that does much else, an error says nothing, and the attempt is made again.
func Undisturbed(t testing.TB, most time.Duration, attempt func() error) {
	t.Helper()
	for n := 1; ; n++ {
		longest := standstill()
		err := attempt()
		stood := longest()
		switch {
		case err == nil:
			return
		case stood <= most:
			t.Fatal(err)
		case n == maxAttempts:
			t.Fatalf("%v; the process stood still for %s, in each of %d attempts for too long", err, stood, n)
		}
		t.Logf("again, since the process stood still for %s: %v", stood, err)
	}
}

// standstill watches for how long this process runs nothing, until the returned function is
// called, which says the longest time.
func standstill() func() time.Duration {
	quit, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		var most time.Duration
		for last := time.Now(); ; last = time.Now() {
			ended := false
			select {
			case <-tick.C:
			case <-quit:
				ended = true
			}
			if most = max(most, time.Since(last)); ended {
				longest <- most
				return
			}
		}
	}()
	return func() time.Duration {
		close(quit)
		return <-longest
	}
}
