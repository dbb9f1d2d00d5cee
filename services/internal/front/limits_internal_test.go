package front

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/boot/conns"
	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
)

func TestS53_RefusedLateAndCounted(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		c := NewCallLimit(1)
		if err := c.enter(t.Context(), 1, nil); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := c.enter(t.Context(), 1, nil)
		var refused *fault.Error
		if !errors.As(err, &refused) || refused.Kind != fault.Unavailable || refused.Reason != fault.Busy || refused.RetryAfter != callRetry {
			t.Errorf("%v", err)
		}
		if waited := time.Since(began); waited != gateTimeout {
			t.Errorf("it waited %s", waited)
		}
		if n := c.Stats().Refused; n != 1 {
			t.Errorf("%d were counted", n)
		}
		c.leave(1, nil)
		if err := c.enter(context.Background(), 1, nil); err != nil {
			t.Error(err)
		}
	})
}

// A connection whose streams do not end leaves its tenant's calls to other
// connections, and finds its own again when they end.
func TestS53_AConnectionLeavesItsTenantTheOtherCalls(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		c := NewCallLimit(64)
		stuck, other := new(conns.Conn), new(conns.Conn)
		for range minStreams {
			if err := c.enter(t.Context(), 1, stuck); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.enter(t.Context(), 1, stuck); err == nil {
			t.Error("a connection has more than its streams")
		}
		began := time.Now()
		if err := c.enter(t.Context(), 1, other); err != nil || time.Since(began) != 0 {
			t.Errorf("another connection: %v after %s", err, time.Since(began))
		}
		c.leave(1, stuck)
		if err := c.enter(t.Context(), 1, stuck); err != nil {
			t.Error(err)
		}
	})
}

// A call that found room on its connection, and none of its tenant, keeps neither.
func TestS53_ARefusedCallHoldsNothing(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		c, conn := NewCallLimit(1), new(conns.Conn)
		if err := c.enter(t.Context(), 1, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.enter(t.Context(), 1, conn); err == nil {
			t.Error("it had room")
		}
		if n := c.connections.Used(); n != 0 {
			t.Errorf("its connection holds %d", n)
		}
	})
}
