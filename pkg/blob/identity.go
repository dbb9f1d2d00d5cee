package blob

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/identity"
)

// ErrChanged is returned by WriteIdentity when the store carries another identity
// than the caller has read.
var ErrChanged = errors.New("blob: the store has another identity now")

// Identified is a store that carries the identity of its deployment, next to the
// objects and not listed as one.
type Identified interface {
	// ReadIdentity returns what the store carries; ErrMissing when it carries
	// nothing, and Unavailable when that cannot be read.
	ReadIdentity(ctx context.Context) (identity.Identity, error)
	// WriteIdentity puts next in the place of was, which the caller has read and
	// which is zero where there was none. It is durable then. ErrChanged when
	// something else is there by now, as far as the store can tell.
	WriteIdentity(ctx context.Context, was, next identity.Identity) error
	// Expect tells the store whose objects it holds. From then on it returns ErrMissing
	// only while it carries that deployment's identity. Without it, Open, Stat and Ping
	// return Unavailable.
	Expect(deployment uuid.UUID)
}
