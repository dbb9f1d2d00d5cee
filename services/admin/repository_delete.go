package admin

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// DeleteRepository marks the repository; the janitor removes its content.
func (s *Service) DeleteRepository(ctx context.Context, req *pb.DeleteRepositoryRequest) (*emptypb.Empty, error) {
	r, err := s.findRepository(ctx, req.GetName())
	if err != nil {
		return deleted(err, req)
	}
	if req.GetValidateOnly() {
		if _, err := s.store.FindRepository(ctx, r); err != nil {
			return deleted(err, req)
		}
	}
	by, err := overriding(ctx, causedBy(ctx, "name", r.Name, ""), req.GetOverrideTagRules())
	if err != nil {
		return nil, err
	}
	by.ValidateOnly = req.GetValidateOnly()
	return deleted(s.store.DeleteRepository(ctx, by, r), req)
}

// DeleteTag deletes a tag; the manifest stays.
func (s *Service) DeleteTag(ctx context.Context, req *pb.DeleteTagRequest) (*emptypb.Empty, error) {
	if err := oci.CheckTag(req.GetTag()); err != nil {
		return nil, fault.From(err).WithField("tag")
	}
	r, err := s.findRepository(ctx, req.GetName())
	if err != nil {
		return deleted(err, req)
	}
	by, err := overriding(ctx, cause(ctx), req.GetOverrideTagRules())
	if err != nil {
		return nil, err
	}
	by.ValidateOnly = req.GetValidateOnly()
	err = s.store.DeleteTag(ctx, by, r, req.GetTag())
	if fault.Is(err, fault.ManifestUnknown) && req.GetAllowMissing() {
		err = nil
	}
	return deleted(err, req)
}
