package faketime

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// With synctest.Test, this crashed at once under the race detector of Go 1.26.8.
func TestTimersThatAreDueAtOnce(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	Test(t, func(*testing.T) {
		var receivers sync.WaitGroup
		for range 4 {
			receivers.Go(func() {
				for range 10_000 {
					<-time.NewTimer(0).C
				}
			})
		}
		receivers.Wait()
	})
	if after := runtime.GOMAXPROCS(0); after != before {
		t.Errorf("%d processors afterwards, %d before", after, before)
	}
}
