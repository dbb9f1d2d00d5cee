package admin

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// GetRepository returns one repository.
func (s *Service) GetRepository(ctx context.Context, req *pb.GetRepositoryRequest) (*pb.Repository, error) {
	r, v, err := s.visibleRepository(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	found, err := s.store.FindRepository(ctx, r)
	if err != nil {
		return nil, v.hidden(err)
	}
	return &pb.Repository{
		Name:          req.GetName(),
		ManifestCount: &found.Manifests,
		TagCount:      &found.Tags,
		SizeBytes:     &found.Size,
		CreateTime:    timestamppb.New(found.CreatedAt),
		State:         pb.Repository_ACTIVE,
	}, nil
}

// ListRepositories pages by name, either way.
func (s *Service) ListRepositories(ctx context.Context, req *pb.ListRepositoriesRequest) (*pb.ListRepositoriesResponse, error) {
	v, err := s.viewOf(ctx, req.GetParent())
	if err != nil {
		return nil, err
	}
	_, r, err := v.registries(s).find(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	found := repositoryList{service: s, ctx: ctx, registry: r, parent: req.GetParent()}
	list, fetch := "repositories", found.active
	if req.GetShowDeleted() {
		list, fetch = "repositories, deleted ones too", found.all
	}
	keys, next, err := s.searchVisible(v, r, list, req.GetParent(), req, fetch)
	if err != nil {
		return nil, err
	}
	return &pb.ListRepositoriesResponse{Repositories: mapped(keys, found.message), NextPageToken: next}, nil
}

// ListTags pages by tag, either way.
func (s *Service) ListTags(ctx context.Context, req *pb.ListTagsRequest) (*pb.ListTagsResponse, error) {
	r, v, err := s.visibleRepository(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	tags, next, err := searchNames(s, "tags", req.GetName(), req,
		func(b meta.Between[string]) ([]string, error) { return s.store.TagsBetween(ctx, r, b) })
	if err != nil {
		return nil, v.hidden(err)
	}
	return &pb.ListTagsResponse{Tags: tags, NextPageToken: next}, nil
}

// findRepository finds the registry of a repository's resource name; whether
// the repository is there is for the caller to ask.
func (s *Service) findRepository(ctx context.Context, name string) (meta.Repo, error) {
	_, repo, err := s.registryAndRepository(ctx, name)
	return repo, err
}

func (s *Service) registryAndRepository(ctx context.Context, name string) (meta.Registry, meta.Repo, error) {
	ids, err := splitName("name", name, "tenants", "registries", "repositories")
	if err != nil {
		return meta.Registry{}, meta.Repo{}, err
	}
	if err := oci.CheckName(ids[2]); err != nil {
		return meta.Registry{}, meta.Repo{}, fault.From(err).WithField("name")
	}
	t, r, err := s.registries().find(ctx, "name", "tenants/"+ids[0]+"/registries/"+ids[1])
	return r, meta.Repo{Tenant: t.ID, Registry: r.ID, Name: ids[2]}, err
}
