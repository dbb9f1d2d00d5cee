package cache

import (
	"context"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/policy"
)

// permits returns nil if the upstream's rules let the manifest be served, whether it is
// fetched, cached or stale. Every manifest that leaves a Repository passes it.
func (r *Repository) permits(ctx context.Context, m Manifest) error {
	return r.checker().Check(ctx, r.Upstream, r.Repo, m.Manifest)
}

func (r *Repository) checker() policy.Checker {
	return policy.Checker{
		Seen: r.caches.Meta, Now: r.caches.Now, Verdicts: r.caches.verdicts, Stored: r.stored(), Upstream: r.Evidence(),
		Once: func(ctx context.Context, work string, f func(ctx context.Context) error) error {
			_, err := singleFlight(ctx, r, work, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
			return err
		},
		Pulled: r.pulled,
	}
}

func (r *Repository) stored() policy.Stored {
	return policy.Stored{Meta: r.caches.Meta, Blobs: r.caches.Blobs}
}

// Evidence is what rules read besides a manifest, from the cache or the upstream. What is
// decided by it counts for all callers, also for those that may not fill the cache.
func (r *Repository) Evidence() policy.Content {
	if r.Offline {
		return storedEvidence{r.stored(), r.Upstream.Slug}
	}
	asking := *r
	asking.CacheOnly = false
	return evidence{&asking, r.stored()}
}

// isYoung reports whether the manifest that a tag has moved to must not be served yet. It
// fetches the manifest, if it is new: its age counts from then on.
func (r *Repository) isYoung(ctx context.Context, d oci.Digest) (bool, error) {
	if _, err := r.caches.Meta.FindManifest(ctx, r.Repo, oci.Reference{Digest: d}); notStored(err) {
		if _, err := r.fetchManifest(ctx, oci.Reference{Digest: d}, manifestKey(d)); err != nil {
			return false, err
		}
	} else if err != nil {
		return false, chain.Internal(err)
	}
	return r.checker().Young(ctx, r.Upstream, r.Repo, d)
}
