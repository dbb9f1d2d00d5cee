package meta

import (
	"context"

	"github.com/berth-registry/berth/pkg/identity"
)

// Identities keep the one identity of the deployment whose rows these are.
type Identities interface {
	// FindIdentity returns it; fault.ResourceUnknown before the first claim.
	FindIdentity(ctx context.Context) (identity.Identity, error)
	// ClaimIdentity records id unless an identity is recorded already, and returns
	// the recorded one: the first claim wins.
	ClaimIdentity(ctx context.Context, id identity.Identity) (identity.Identity, error)
	// RaiseIdentity makes the generation one more than it is, and more than
	// atLeast, and returns it; fault.ResourceUnknown where there is no identity.
	RaiseIdentity(ctx context.Context, atLeast int64) (identity.Identity, error)
}
