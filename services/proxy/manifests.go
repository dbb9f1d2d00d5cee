package proxy

import (
	"context"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/proxy/cache"
)

// GetManifestRequest asks the chain for a manifest by tag or digest.
type GetManifestRequest struct {
	PullRequest
	Reference oci.Reference
}

// GetManifest finds the manifest at the first member that has it.
func (s *Service) GetManifest(ctx context.Context, req GetManifestRequest) (cache.Manifest, error) {
	ctx, p, err := s.resolveChain(ctx, req.PullRequest)
	if err != nil {
		return cache.Manifest{}, err
	}
	return p.manifest(ctx, req.Reference)
}

func (p *pull) manifest(ctx context.Context, ref oci.Reference) (cache.Manifest, error) {
	notHere := fault.New(fault.NotFound, fault.ManifestUnknown, "manifest %s not found in this registry or its upstreams", ref).
		WithDetail(map[string]string{"reference": ref.String()})
	var found cache.Manifest
	set := setter(&found)
	hosted := func(r meta.Repo) error {
		m, err := p.service.meta.FindManifest(ctx, r, ref)
		if err == nil {
			p.service.pulls.Add(r, ref, m.Digest)
		}
		return set(cache.Manifest{Manifest: m}, err)
	}
	if ref.Digest == "" {
		err := p.find(ctx, notHere, asking{hosted: hosted, upstream: func(_ *chain.Member, r *cache.Repository) error {
			return set(r.Tag(ctx, ref.Tag))
		}})
		return found, err
	}
	err := p.findByDigest(ctx, notHere, byDigest{
		digest: ref.Digest,
		hosted: hosted,
		stored: func(r *cache.Repository) error {
			return r.CountAnswer("manifest", cache.Hit, set(r.StoredManifest(ctx, ref.Digest)))
		},
		fetch: func(r *cache.Repository, _ int64) error {
			return r.CountAnswer("manifest", cache.Miss, set(r.Manifest(ctx, ref.Digest)))
		},
	})
	return found, err
}
