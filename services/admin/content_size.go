package admin

import (
	"context"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// GetRegistrySize measures a registry.
func (s *Service) GetRegistrySize(ctx context.Context, req *pb.GetRegistrySizeRequest) (*pb.ContentSize, error) {
	_, r, err := s.registries().find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	return contentSizeMessage(s.store.RegistrySize(ctx, r.Tenant, r.ID))
}

// GetRepositorySize measures a repository, or one image of it.
func (s *Service) GetRepositorySize(ctx context.Context, req *pb.GetRepositorySizeRequest) (*pb.ContentSize, error) {
	r, err := s.findRepository(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	if req.GetReference() == "" {
		return contentSizeMessage(s.store.RepositorySize(ctx, r))
	}
	ref, err := oci.ParseReference(req.GetReference())
	if err != nil {
		return nil, fault.From(err).WithField("reference")
	}
	return contentSizeMessage(s.store.ImageSize(ctx, r, ref))
}

func contentSizeMessage(c meta.ContentSize, err error) (*pb.ContentSize, error) {
	if err != nil {
		return nil, err
	}
	return &pb.ContentSize{
		ManifestCount: c.Manifests, ManifestBytes: c.ManifestBytes, BlobCount: c.Blobs, BlobBytes: c.BlobBytes,
		OwnBlobCount: c.OwnBlobs, OwnBlobBytes: c.OwnBlobBytes,
	}, nil
}
