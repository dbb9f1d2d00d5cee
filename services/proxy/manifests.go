package proxy

import (
	"context"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/pullrules"
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
	found, err := p.manifest(ctx, req.Reference)
	if err != nil {
		return found, err
	}
	if req.PullRules != 0 {
		if err := s.rules.Check(ctx, p.rulesFor(req.PullRules, req.Reference), p.answer(found)); err != nil {
			return cache.Manifest{}, err
		}
	}
	if p.from.hosted() {
		s.pulls.Add(p.from.repo, req.Reference, found.Digest)
	}
	return found, nil
}

// origin is the storage of the member that answered.
type origin struct {
	repo     meta.Repo
	upstream *cache.Repository // nil if it is hosted
}

func (o origin) hosted() bool { return o.upstream == nil }

// rulesFor is the pull as pull rules see it.
func (p *pull) rulesFor(version int64, ref oci.Reference) pullrules.Pull {
	return pullrules.Pull{Rules: version, Repo: p.Requested, Registry: p.Registry, Tag: ref.Tag, Hops: p.Hops}
}

// answer is the member's answer as pull rules see it.
func (p *pull) answer(found cache.Manifest) pullrules.Answer {
	a := pullrules.Answer{Repo: p.from.repo, Manifest: found.Manifest}
	if !p.from.hosted() {
		a.Upstream = p.from.upstream.Evidence()
		return a
	}
	for i, id := range p.walk.Registries {
		if id == a.Repo.Registry {
			a.Registry = p.walk.Registry(i).Slug
		}
	}
	return a
}

func (p *pull) manifest(ctx context.Context, ref oci.Reference) (cache.Manifest, error) {
	notHere := fault.New(fault.NotFound, fault.ManifestUnknown, "manifest %s not found in this registry or its upstreams", ref).
		WithDetail(map[string]string{"reference": ref.String()})
	var found cache.Manifest
	set := setter(&found)
	hosted := func(r meta.Repo) error {
		p.from = origin{repo: r}
		m, err := p.service.meta.FindManifest(ctx, r, ref)
		return set(cache.Manifest{Manifest: m}, err)
	}
	cached := func(r *cache.Repository) { p.from = origin{r.Repo, r} }
	if ref.Digest == "" {
		err := p.find(ctx, notHere, asking{hosted: hosted, upstream: func(_ *chain.Member, r *cache.Repository) error {
			cached(r)
			return set(r.Tag(ctx, ref.Tag))
		}})
		return found, err
	}
	err := p.findByDigest(ctx, notHere, byDigest{
		digest: ref.Digest,
		hosted: hosted,
		stored: func(r *cache.Repository) error {
			cached(r)
			return r.CountAnswer("manifest", cache.Hit, set(r.StoredManifest(ctx, ref.Digest)))
		},
		fetch: func(r *cache.Repository, _ int64) error {
			cached(r)
			return r.CountAnswer("manifest", cache.Miss, set(r.Manifest(ctx, ref.Digest)))
		},
	})
	return found, err
}
