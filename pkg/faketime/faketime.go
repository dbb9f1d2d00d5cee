// Package faketime runs tests whose clock moves on when all their goroutines wait.
package faketime

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// one keeps this process on one processor while a test with a fake clock runs.
var one struct {
	sync.Mutex
	tests  int // that run
	before int // processors, before the first of them
}

// Test is synctest.Test on one processor. On more, the race detector of Go 1.26 crashes when
// two goroutines receive at once from timers of the fake clock that are due: both then run in
// the one race context that these timers have. What races is seen on one processor, too, since
// the detector looks at what happens before what, and not at what happened at once.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	one.Lock()
	if one.tests++; one.tests == 1 {
		one.before = runtime.GOMAXPROCS(1)
	}
	one.Unlock()
	defer func() {
		one.Lock()
		defer one.Unlock()
		if one.tests--; one.tests == 0 {
			runtime.GOMAXPROCS(one.before)
		}
	}()
	synctest.Test(t, f) //nolint:forbidigo // here it is made safe
}
