package cache

import (
	"context"
	"errors"
	"io"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/policy"
	"github.com/berth-registry/berth/services/internal/respond"
)

// permits returns nil if the upstream's rules let the manifest be served, whether it is
// fetched, cached or stale. Every manifest that leaves a Repository passes it.
func (r *Repository) permits(ctx context.Context, m Manifest) error {
	return r.checker().Check(ctx, r.Upstream, r.Repo, m.Manifest)
}

func (r *Repository) checker() policy.Checker {
	return policy.Checker{Seen: r.caches.Meta, Now: r.caches.Now, Config: r.config}
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

// config reads a manifest's config, from the cache or the upstream.
func (r *Repository) config(ctx context.Context, _ meta.Repo, config oci.Descriptor) ([]byte, error) {
	opened, err := r.openBlob(ctx, config)
	if err != nil {
		return nil, err
	}
	payload, err := io.ReadAll(io.LimitReader(opened.Content, policy.MaxConfig))
	return payload, errors.Join(err, opened.Content.Close())
}

func (r *Repository) openBlob(ctx context.Context, d oci.Descriptor) (respond.OpenBlobResponse, error) {
	b, err := r.caches.Meta.FindBlob(ctx, r.Repo, d.Digest)
	if err == nil {
		opened, err := r.caches.Blobs.Open(ctx, b, false, "")
		if !errors.Is(err, respond.ErrContentLost) {
			return opened, chain.Internal(err)
		}
	} else if !notStored(err) {
		return respond.OpenBlobResponse{}, chain.Internal(err)
	}
	return r.Blob(ctx, d.Digest, d.Size)
}
