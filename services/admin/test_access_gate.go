package admin

import (
	"context"
	"runtime"
	"time"

	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Bounds of the gate of TestAccess, which every account may call, and which compares all rules.
const (
	maxTestsWaiting = 32 // of one tenant
	maxTestWait     = 10 * time.Second
	testRetry       = 2 * time.Second
)

// newTestGate lets half of the processors, at least two, test access at a time, and leaves one
// of them to other tenants.
func newTestGate() *fairgate.Gate[tenant.ID] {
	at := int64(max(2, runtime.GOMAXPROCS(0)/2))
	return fairgate.New[tenant.ID](fairgate.Options{Capacity: at, Most: at - 1, MaxWaiting: maxTestsWaiting})
}

// enterTest waits for the tenant's turn, which it gives back to s.tests.
func (s *Service) enterTest(ctx context.Context, t tenant.ID) error {
	return enter(ctx, s.tests, t, ":testAccess, :simulateRetention and :explainRetention")
}

// enter waits for the tenant's turn at a gate of the named calls.
func enter(ctx context.Context, gate *fairgate.Gate[tenant.ID], t tenant.ID, calls string) error {
	err := gate.AcquireWithin(ctx, t, 1, maxTestWait)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return fault.Wrap(err, fault.Unavailable, fault.Busy, "too many calls of %s are at work in this tenant; retry later", calls).WithRetryAfter(testRetry)
	}
}
