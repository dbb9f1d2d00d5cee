package admin

import (
	"context"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// GetCachedRepository returns the cache of one repository of an upstream.
func (s *Service) GetCachedRepository(ctx context.Context, req *pb.GetCachedRepositoryRequest) (*pb.CachedRepository, error) {
	ids, err := splitName("name", req.GetName(), "tenants", "upstreams", "repositories")
	if err != nil {
		return nil, err
	}
	if err := oci.CheckName(ids[2]); err != nil {
		return nil, fault.From(err).WithField("name")
	}
	_, u, err := s.upstreams().find(ctx, "name", "tenants/"+ids[0]+"/upstreams/"+ids[1])
	if err != nil {
		return nil, err
	}
	found, err := s.store.FindRepository(ctx, meta.Repo{Tenant: u.Tenant, Registry: u.Cache, Name: ids[2]})
	if err != nil {
		return nil, err
	}
	return &pb.CachedRepository{
		Name: req.GetName(), ManifestCount: &found.Manifests, SizeBytes: &found.Size, CreateTime: timestamppb.New(found.CreatedAt),
	}, nil
}

// ListCachedRepositories pages by name, either way.
func (s *Service) ListCachedRepositories(ctx context.Context, req *pb.ListCachedRepositoriesRequest) (*pb.ListCachedRepositoriesResponse, error) {
	t, u, err := s.upstreams().find(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	names, next, err := searchNames(s, "cached repositories", req.GetParent(), req,
		func(b meta.Between[string]) ([]string, error) {
			return s.store.RepositoriesBetween(ctx, t.ID, u.Cache, b)
		})
	if err != nil {
		return nil, err
	}
	return &pb.ListCachedRepositoriesResponse{
		Repositories: mapped(names, func(name string) *pb.CachedRepository {
			return &pb.CachedRepository{Name: req.GetParent() + "/repositories/" + name}
		}),
		NextPageToken: next,
	}, nil
}

// PurgeUpstream deletes cached content.
func (s *Service) PurgeUpstream(ctx context.Context, req *pb.PurgeUpstreamRequest) (*emptypb.Empty, error) {
	_, u, err := s.upstreams().find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if req.GetRepository() == "" {
		if req.GetReference() != "" {
			return nil, invalid("repository", "a reference needs its repository; set repository too")
		}
		if req.GetValidateOnly() {
			return &emptypb.Empty{}, nil
		}
		_, err := s.store.UpdateUpstream(ctx, causedBy(ctx, "cache", "(all)", ""), u, true)
		return &emptypb.Empty{}, err
	}
	r, ref, err := cachedReference(u, req)
	if err != nil || req.GetValidateOnly() {
		return &emptypb.Empty{}, err
	}
	unproved, err := s.store.PurgeUnproved(ctx, causedBy(ctx, "cache", r.Name+" (unproved)", ""), u, r.Name)
	if err != nil {
		return nil, err
	}
	err = s.store.PurgeCached(ctx, causedBy(ctx, "cache", strings.TrimSpace(r.Name+" "+ref.String()), ""), r, ref)
	if unproved && fault.KindOf(err) == fault.NotFound {
		err = nil
	}
	return &emptypb.Empty{}, err
}

// RefreshUpstream asks the upstream now, whatever the age of the cache.
func (s *Service) RefreshUpstream(ctx context.Context, req *pb.RefreshUpstreamRequest) (*pb.Resolution_Answer, error) {
	t, u, err := s.upstreams().find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if req.GetReference() == "" {
		return nil, invalid("reference", "name a tag or a digest")
	}
	r, ref, err := cachedReference(u, req)
	if err != nil {
		return nil, err
	}
	a, err := s.chains.Refresh(ctx, t.Slug, u, r.Name, ref)
	if err != nil {
		return nil, err
	}
	return answerMessage(a), nil
}

// cachedReference is what a request names of an upstream; without a reference,
// the zero one.
func cachedReference(u meta.Upstream, req interface {
	GetRepository() string
	GetReference() string
},
) (meta.Repo, oci.Reference, error) {
	r := meta.Repo{Tenant: u.Tenant, Registry: u.Cache, Name: req.GetRepository()}
	if err := oci.CheckName(r.Name); err != nil {
		return r, oci.Reference{}, fault.From(err).WithField("repository")
	}
	if req.GetReference() == "" {
		return r, oci.Reference{}, nil
	}
	ref, err := oci.ParseReference(req.GetReference())
	if err != nil {
		return r, ref, fault.From(err).WithField("reference")
	}
	return r, ref, nil
}
