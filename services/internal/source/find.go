package source

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// Find finds a manifest in the first storage that holds it. What the rules of an upstream
// do not let a pull have, no push takes over either.
func (s Sources) Find(ctx context.Context, d oci.Digest) (meta.Manifest, error) {
	hasRules := func(r meta.Repo) bool {
		u := s.upstreams[r.Registry]
		return u != nil && u.Settings.HasRules()
	}
	if !slices.ContainsFunc(s.Repos, hasRules) {
		return s.Meta.FindAdoptable(ctx, s.Repos, d)
	}
	for _, r := range s.Repos {
		m, err := s.Meta.FindAdoptable(ctx, []meta.Repo{r}, d)
		if fault.Is(err, fault.ManifestUnknown) {
			continue
		}
		if err == nil && hasRules(r) {
			err = s.Policy.Check(ctx, s.upstreams[r.Registry], r, m)
		}
		return m, err
	}
	return s.Meta.FindAdoptable(ctx, nil, d)
}
