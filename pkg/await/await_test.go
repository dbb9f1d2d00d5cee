package await

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/faketime"
)

func TestWithin(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		after := func(d time.Duration) func() bool {
			start := time.Now()
			return func() bool { return time.Since(start) >= d }
		}
		for _, d := range []time.Duration{0, time.Millisecond, time.Minute - time.Second} {
			start := time.Now()
			if err := Within(t.Context(), time.Minute, "it comes", after(d)); err != nil || time.Since(start) > d+longestPause {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}
		start := time.Now()
		err := Within(t.Context(), time.Second, "it comes", after(time.Hour))
		if err == nil || err.Error() != "not within 1s: it comes" || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		reason := errors.New("the run is over")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, reason)
		defer cancel()
		if err := Within(ctx, time.Minute, "it comes", after(time.Hour)); !errors.Is(err, reason) {
			t.Error(err)
		}
	})
}
