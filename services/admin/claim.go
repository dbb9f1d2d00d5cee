package admin

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// ListNameClaims pages by name.
func (s *Service) ListNameClaims(ctx context.Context, req *pb.ListNameClaimsRequest) (*pb.ListNameClaimsResponse, error) {
	t, r, err := s.registries().find(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	rows, next, err := listPage(s, "name claims", req.GetParent(), req,
		func(p meta.Page) ([]meta.NameClaim, error) { return s.store.ListNameClaims(ctx, t.ID, r.ID, p) },
		func(c meta.NameClaim) string { return c.Name })
	if err != nil {
		return nil, err
	}
	return &pb.ListNameClaimsResponse{
		NameClaims: mapped(rows, func(c meta.NameClaim) *pb.NameClaim {
			return &pb.NameClaim{Name: req.GetParent() + "/nameClaims/" + c.Name, CreateTime: timestamppb.New(c.Since), InUse: c.InUse}
		}),
		NextPageToken: next,
	}, nil
}

// ReleaseNameClaim lets upstreams be asked for a name that is not used any more.
func (s *Service) ReleaseNameClaim(ctx context.Context, req *pb.ReleaseNameClaimRequest) (*emptypb.Empty, error) {
	ids, err := splitName("name", req.GetName(), "tenants", "registries", "nameClaims")
	if err != nil {
		return nil, err
	}
	if err := oci.CheckName(ids[2]); err != nil {
		return nil, fault.From(err).WithField("name")
	}
	t, r, err := s.registries().find(ctx, "name", "tenants/"+ids[0]+"/registries/"+ids[1])
	if err != nil {
		return deleted(err, req)
	}
	repo := meta.Repo{Tenant: t.ID, Registry: r.ID, Name: ids[2]}
	if !req.GetValidateOnly() {
		return deleted(s.store.ReleaseNameClaim(ctx, causedBy(ctx, "name", repo.Name, ""), repo), req)
	}
	c, err := s.store.FindNameClaim(ctx, repo)
	if err == nil && c.InUse {
		err = fault.New(fault.Conflict, fault.InUse, "the registry holds manifests under the name %q; delete the repository first", c.Name)
	}
	return deleted(err, req)
}
