// Package pause waits, but no longer than a context lives.
package pause

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits for d. It returns early when ctx ends, with the cause.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Between is For with a random time from least to most, so that processes that
// wait for the same do not all try again at once. It panics unless least < most.
func Between(ctx context.Context, least, most time.Duration) error {
	return For(ctx, least+rand.N(most-least)) //nolint:gosec // spreads the load, hides nothing
}
