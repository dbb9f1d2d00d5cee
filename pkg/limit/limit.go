// Package limit counts what must not come too often and refuses it then.
package limit

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Key names what is counted. Name comes from outside: the caller sees to it
// that it is short.
type Key struct {
	Kind   string // a constant of the caller: "account", "address"
	Tenant tenant.ID
	Name   string
}

// Failures counts failed attempts. Implementations are safe for concurrent use.
type Failures interface {
	// Check returns fault.TooManyRequests, with RetryAfter, while the key has no
	// attempts left. It counts nothing: what succeeds costs nothing.
	Check(ctx context.Context, k Key) error
	// Add counts one failed attempt.
	Add(ctx context.Context, k Key) error
}

// Refused is what Check returns when the next attempt comes back after wait.
func Refused(wait time.Duration) error {
	return fault.New(fault.TooMany, fault.TooManyRequests, "too many failed attempts; retry later").WithRetryAfter(wait)
}
