package meta

import (
	"context"

	"github.com/berth-registry/berth/pkg/identity"
)

// Identities keep the one identity of the deployment that owns the database.
type Identities interface {
	// FindIdentity returns it; fault.ResourceUnknown before the first claim.
	FindIdentity(ctx context.Context) (identity.Identity, error)
	// ClaimIdentity records id unless an identity is recorded already, and returns
	// the recorded one: the first claim wins.
	ClaimIdentity(ctx context.Context, id identity.Identity) (identity.Identity, error)
	// RaiseIdentity increments the generation, to more than atLeast, and returns the
	// identity; fault.ResourceUnknown without one.
	RaiseIdentity(ctx context.Context, atLeast int64) (identity.Identity, error)
}
