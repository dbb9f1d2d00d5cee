package meta

import (
	"context"

	"github.com/berth-registry/berth/pkg/identity"
)

// Identities keep the one identity of the deployment whose rows these are.
type Identities interface {
	// FindIdentity returns it; fault.ResourceUnknown where there is none.
	FindIdentity(ctx context.Context) (identity.Identity, error)
	// ClaimIdentity records one where there is none, and returns the one that is
	// there: the first claim wins, whoever else makes one.
	ClaimIdentity(ctx context.Context, id identity.Identity) (identity.Identity, error)
	// RaiseIdentity makes the generation one more than it is, and more than
	// atLeast, and returns it; fault.ResourceUnknown where there is no identity.
	RaiseIdentity(ctx context.Context, atLeast int64) (identity.Identity, error)
}
