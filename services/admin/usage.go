package admin

import (
	"context"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

// GetUsage returns a tenant's usage and its limits.
func (s *Service) GetUsage(ctx context.Context, req *pb.GetUsageRequest) (*pb.Usage, error) {
	t, err := s.findUsage(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	return usageMessage(req.GetName(), t), nil
}

func usageMessage(name string, t meta.Tenant) *pb.Usage {
	return &pb.Usage{
		Name: name, UsedBytes: t.Used, LimitBytes: t.Quota, OverheadBytes: t.Overhead, CachedBytes: t.Cached,
		Hosted: hostedMessage(t.Hosted), LimitRepositories: t.MaxHosted.Repositories, LimitManifests: t.MaxHosted.Manifests, LimitTags: t.MaxHosted.Tags,
	}
}

// RecountUsage lets the janitor count again what the tenant's registries hold.
func (s *Service) RecountUsage(ctx context.Context, req *pb.RecountUsageRequest) (*pb.Usage, error) {
	t, err := s.findUsage(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	if err := s.store.RecountHosted(ctx, causedBy(ctx, "hosted", "", "counting"), t.ID); err != nil {
		return nil, err
	}
	t.Hosted.Counting = true
	return usageMessage(req.GetName(), t), nil
}

func (s *Service) findUsage(ctx context.Context, name string) (meta.Tenant, error) {
	parent, ok := strings.CutSuffix(name, "/usage")
	if !ok {
		return meta.Tenant{}, invalid("name", "the name of a usage is tenants/{tenant}/usage")
	}
	return s.findTenant(ctx, "name", parent)
}
