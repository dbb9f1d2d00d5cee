package front

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

func TestS53_RefusedLateAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCalls(1)
		if err := c.enter(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := c.enter(t.Context(), 1)
		var refused *fault.Error
		if !errors.As(err, &refused) || refused.Kind != fault.Unavailable || refused.Reason != fault.Busy || refused.RetryAfter != callRetry {
			t.Errorf("%v", err)
		}
		if waited := time.Since(began); waited != callTime {
			t.Errorf("it waited %s", waited)
		}
		if n := c.Stats().Refused; n != 1 {
			t.Errorf("%d were counted", n)
		}
		c.leave(1)
		if err := c.enter(context.Background(), 1); err != nil {
			t.Error(err)
		}
	})
}
