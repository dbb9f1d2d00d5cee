package meta

import (
	"context"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// PromotionGate is what a tenant asks of images that are promoted to some of its
// repositories.
type PromotionGate struct {
	Tenant       tenant.ID
	Slug         string
	Registry     string   // slug of the one that is promoted to; empty: every registry of the tenant
	Repositories []string // patterns of the target's name; none: all
	Tags         []string // patterns of the tag that is moved; none: all, and no tag

	Keys          []string // PEM; the image is signed by one of them or of Identities, if there are any
	Identities    []SignerIdentity
	TrustedRoot   string            // of Identities; empty: the operator's
	ArtifactTypes []string          // each is that of a referrer of the image
	Annotations   map[string]string // that the image has; an empty value: any
	Labels        map[string]string // likewise, in the config of each platform's image
	MinAge        time.Duration     // in the source
	AnotherCaller bool              // the promoter did not push it there

	DisplayName string
	Disabled    bool // it does not count
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Selects reports whether the gate is for a promotion to the repository of a registry, under
// a tag, which may be empty.
func (g PromotionGate) Selects(registry, repository, tag string) bool {
	return !g.Disabled && (g.Registry == "" || g.Registry == registry) &&
		(len(g.Repositories) == 0 || oci.MatchesAny(g.Repositories, repository)) &&
		(len(g.Tags) == 0 || tag != "" && oci.MatchesAny(g.Tags, tag))
}

// PromotionGates keeps promotion gates; absence is fault.ResourceUnknown. A gate counts for
// every promotion that ends after the gate was made: making or changing one waits for the
// tags in flight.
type PromotionGates interface {
	CreatePromotionGate(ctx context.Context, by Cause, g PromotionGate) (PromotionGate, error)
	FindPromotionGate(ctx context.Context, t tenant.ID, slug string) (PromotionGate, error)
	// ListPromotionGates pages by slug.
	ListPromotionGates(ctx context.Context, t tenant.ID, p Page) ([]PromotionGate, error)
	// UpdatePromotionGate changes everything but the slug; Version as in UpdateTenant.
	UpdatePromotionGate(ctx context.Context, by Cause, g PromotionGate) (PromotionGate, error)
	DeletePromotionGate(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
}

// GateVersion is a gate in the version that was asked.
type GateVersion struct {
	Slug      string
	CreatedAt time.Time // one that is made under the slug of a deleted one begins with the same version
	Version   int64
}

func (v GateVersion) equal(w GateVersion) bool {
	return v.Slug == w.Slug && v.Version == w.Version && v.CreatedAt.Equal(w.CreatedAt)
}

// GateVersions are all gates of a tenant that are not disabled, by slug.
type GateVersions []GateVersion

// CheckGates decides whether the gates of the tenant are still those that were asked before:
// else fault.EtagMismatch.
func (p *ManifestPut) CheckGates(now GateVersions) error {
	if p.Gates == nil || slices.EqualFunc(*p.Gates, now, GateVersion.equal) {
		return nil
	}
	return fault.New(fault.Conflict, fault.EtagMismatch, "promotion gates were changed meanwhile; try again")
}
