package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// NameClaim reserves a name for a registry: upstreams are not asked for it
// (contract row E9). The first manifest under the name creates it.
type NameClaim struct {
	Name  string
	Since time.Time
	InUse bool // the registry holds a manifest under the name
}

// NameClaims keeps the names that hosted registries claim.
type NameClaims interface {
	// FindNameClaim returns fault.ResourceUnknown when the registry does not claim
	// the name.
	FindNameClaim(ctx context.Context, r Repo) (NameClaim, error)
	// ListNameClaims pages by name, in byte order.
	ListNameClaims(ctx context.Context, t tenant.ID, r tenant.RegistryID, p Page) ([]NameClaim, error)
	// ReleaseNameClaim deletes the claim: fault.InUse, kind Conflict, while the
	// registry holds a manifest under the name, fault.ResourceUnknown without a
	// claim. The event is "nameClaim.release", its target
	// registries/<slug>/nameClaims/<name>.
	ReleaseNameClaim(ctx context.Context, by Cause, r Repo) error
}
