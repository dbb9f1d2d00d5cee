package registry

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// find finds a manifest in the first storage that holds it. What the rules of an upstream
// do not let a pull have, no push takes over either.
func (a *adoption) find(ctx context.Context, d oci.Digest) (meta.Manifest, error) {
	hasRules := func(r meta.Repo) bool {
		u := a.upstreams[r.Registry]
		return u != nil && u.Settings.HasRules()
	}
	if !slices.ContainsFunc(a.from, hasRules) {
		return a.meta.FindAdoptable(ctx, a.from, d)
	}
	for _, r := range a.from {
		m, err := a.meta.FindAdoptable(ctx, []meta.Repo{r}, d)
		if fault.Is(err, fault.ManifestUnknown) {
			continue
		}
		if err == nil && hasRules(r) {
			err = a.policy.Check(ctx, a.upstreams[r.Registry], r, m)
		}
		return m, err
	}
	return a.meta.FindAdoptable(ctx, nil, d)
}
