package proxy

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/respond"
	"github.com/berth-registry/berth/services/proxy/cache"
)

// mergeMembers asks the registry itself and then all members for their parts of a
// list, which hosted and remote collect; found reports whether any member had a
// part. If none had, and the walk continued after a failed member, it returns that
// failure: the member may have had a part.
func (p *pull) mergeMembers(hosted func(r meta.Repo) error, remote func(m *chain.Member, r *cache.Repository) error, found func() bool) error {
	if !p.walk.Direct {
		own := meta.Repo{Tenant: p.Tenant, Registry: p.walk.Registries[0], Name: p.Name}
		if err := hosted(own); err != nil && chain.OutcomeOf(err) != chain.NotHere {
			return err
		}
	}
	err := p.walk.Ask(p.walk.Members, p.members(asking{
		hosted:   func(r meta.Repo) error { return keepWalking(hosted(r)) },
		upstream: func(m *chain.Member, r *cache.Repository) error { return keepWalking(remote(m, r)) },
	}))
	switch {
	case errors.Is(err, chain.ErrLogin) && found(): // the list ends where a pull by the same caller would
		return nil
	case chain.OutcomeOf(err) != chain.NotHere:
		return err
	case !found():
		return p.walk.Passed
	default:
		return nil
	}
}

// keepWalking lets a walk continue after a member that had a part: others may have
// more.
func keepWalking(err error) error {
	if err == nil {
		return chain.ErrNotHere
	}
	return err
}

// isAlone reports whether m, an upstream that is asked, is the only member that can have the
// repository: registries have none whose name is not claimed.
func (p *pull) isAlone(m *chain.Member) bool {
	if p.walk.Direct {
		return true
	}
	if chain.AllowsClaimed(m.Upstream, p.Name) {
		return false
	}
	for other := range p.walk.Answering(p.Name) {
		if other.Upstream != nil && other != m {
			return false
		}
	}
	return true
}

// passed is the freshness of a list after a walk that continued after an outage: the
// member that is out may have more.
func (p *pull) passed() cache.Freshness {
	return cache.Freshness{Stale: p.walk.Passed != nil, Incomplete: p.walk.Passed != nil}
}

// ListTagsRequest asks for one page of a repository's tags at all members.
type ListTagsRequest struct {
	PullRequest
	Page meta.Page
}

// ListTagsResponse is a page of tags with its freshness.
type ListTagsResponse struct {
	respond.NamesResponse
	cache.Freshness
}

// ListTags merges the tags of the members, sorted and without duplicates.
func (s *Service) ListTags(ctx context.Context, req ListTagsRequest) (ListTagsResponse, error) {
	ctx, p, err := s.resolveChain(ctx, req.PullRequest)
	if err != nil {
		return ListTagsResponse{}, err
	}
	page := respond.WithLookahead(req.Page)
	var merged []string
	known := false
	var fresh cache.Freshness
	add := func(names []string, err error) error {
		known = known || err == nil
		merged = append(merged, names...)
		return err
	}
	err = p.mergeMembers(
		func(r meta.Repo) error { return add(s.meta.ListTags(ctx, r, page)) },
		func(m *chain.Member, r *cache.Repository) error {
			names, f, err := r.Tags(ctx, page, p.isAlone(m))
			fresh = fresh.With(f)
			return add(names, err)
		},
		func() bool { return known })
	if err != nil {
		return ListTagsResponse{}, err
	}
	if !known {
		err := p.walk.NotHere()
		if errors.Is(err, chain.ErrNotHere) {
			err = fault.New(fault.NotFound, fault.NameUnknown, "repository %s not found in this registry or its upstreams", p.Name)
		}
		return ListTagsResponse{}, err
	}
	slices.Sort(merged)
	merged = slices.Compact(merged)
	return ListTagsResponse{respond.TrimPage(merged[:min(len(merged), page.Size)], req.Page.Size), fresh.With(p.passed())}, nil
}

// ListReferrersRequest asks for one page of the manifests that have a subject, at
// all members.
type ListReferrersRequest struct {
	PullRequest
	Subject      oci.Digest
	ArtifactType string // empty for all
	Page         meta.Page
}

// ListReferrersResponse is a page of referrers with its freshness.
type ListReferrersResponse struct {
	respond.ReferrersResponse
	cache.Freshness
}

// ListReferrers merges the referrers of the members, by digest and without
// duplicates.
func (s *Service) ListReferrers(ctx context.Context, req ListReferrersRequest) (ListReferrersResponse, error) {
	ctx, p, err := s.resolveChain(ctx, req.PullRequest)
	if err != nil {
		return ListReferrersResponse{}, err
	}
	page := respond.WithLookahead(req.Page)
	var merged []meta.Referrer
	var fresh cache.Freshness
	var end oci.Digest // beyond it a member's list is unknown; empty: all is known
	err = p.mergeMembers(
		func(r meta.Repo) error {
			rows, err := s.meta.ListReferrers(ctx, r, req.Subject, req.ArtifactType, page)
			if respond.EndedEarly(rows, page.Size) {
				last := rows[len(rows)-1].Digest
				end = min(cmp.Or(end, last), last)
			}
			merged = append(merged, rows...)
			return err
		},
		func(_ *chain.Member, r *cache.Repository) error {
			rows, f, err := r.Referrers(ctx, req.Subject)
			fresh = fresh.With(f)
			for _, row := range rows {
				if (req.ArtifactType == "" || row.ArtifactType == req.ArtifactType) && string(row.Digest) > req.Page.After {
					merged = append(merged, row)
				}
			}
			return err
		},
		func() bool { return len(merged) > 0 })
	if err != nil {
		return ListReferrersResponse{}, err
	}
	// Of duplicates, the first counts.
	slices.SortStableFunc(merged, func(a, b meta.Referrer) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	merged = slices.CompactFunc(merged, func(a, b meta.Referrer) bool { return a.Digest == b.Digest })
	if end != "" {
		merged = slices.DeleteFunc(merged, func(m meta.Referrer) bool { return m.Digest > end })
	}
	found, err := respond.TrimReferrers(merged[:min(len(merged), page.Size)], req.Page.Size)
	found.More = found.More || end != ""
	return ListReferrersResponse{found, fresh.With(p.passed())}, err
}
