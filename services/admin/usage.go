package admin

import (
	"context"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
)

// GetUsage returns a tenant's usage and its limits.
func (s *Service) GetUsage(ctx context.Context, req *pb.GetUsageRequest) (*pb.Usage, error) {
	parent, ok := strings.CutSuffix(req.GetName(), "/usage")
	if !ok {
		return nil, invalid("name", "the name of a usage is tenants/{tenant}/usage")
	}
	t, err := s.findTenant(ctx, "name", parent)
	if err != nil {
		return nil, err
	}
	return &pb.Usage{
		Name: req.GetName(), UsedBytes: t.Used, LimitBytes: t.Quota, OverheadBytes: t.Overhead, CachedBytes: t.Cached,
		Hosted: hostedMessage(t.Hosted), LimitRepositories: t.MaxHosted.Repositories, LimitManifests: t.MaxHosted.Manifests, LimitTags: t.MaxHosted.Tags,
	}, nil
}
