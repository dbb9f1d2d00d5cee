// Package await waits, in tests and in tools, until something is so.
package await

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/pause"
)

// The pauses between two looks grow, so that what comes at once is seen at once
// and what takes long is not asked all the time.
const (
	firstPause   = time.Millisecond
	longestPause = 50 * time.Millisecond
)

// True fails the test unless done is true within limit; what says it in words.
func True(t testing.TB, limit time.Duration, what string, done func() bool) {
	t.Helper()
	if err := Within(context.WithoutCancel(t.Context()), limit, what, done); err != nil {
		t.Fatal(err)
	}
}

// Within returns nil once done is true, and an error after limit or when ctx
// ends. It looks at least once, and done is never called at the same time twice.
func Within(ctx context.Context, limit time.Duration, what string, done func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %s: %s", limit, what))
	defer cancel()
	for wait := firstPause; !done(); wait = min(2*wait, longestPause) {
		if err := pause.For(ctx, wait); err != nil {
			return err
		}
	}
	return nil
}
