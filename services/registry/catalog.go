package registry

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// ListRepositories asks for one page of a registry's repositories.
type ListRepositories struct {
	Tenant   tenant.ID
	Registry tenant.RegistryID
	Page     meta.Page
}

// ListRepositories lists at most Page.Size repositories that hold a manifest.
func (s *Service) ListRepositories(ctx context.Context, req ListRepositories) (Names, error) {
	names, err := s.meta.ListRepositories(ctx, req.Tenant, req.Registry, oneMore(req.Page))
	return page(names, req.Page.Size), err
}
