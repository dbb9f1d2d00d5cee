package pause

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/faketime"
)

func TestBetween(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		for range 100 {
			start := time.Now()
			if err := Between(t.Context(), time.Second, 2*time.Second); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took < time.Second || took >= 2*time.Second {
				t.Errorf("it took %v", took)
			}
		}
	})
}

func TestForEndsWithItsContext(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		reason := errors.New("the client left")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, reason)
		defer cancel()
		start := time.Now()
		if err := For(ctx, time.Hour); !errors.Is(err, reason) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
