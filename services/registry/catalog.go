package registry

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/respond"
)

// ListRepositoriesRequest asks for one page of a registry's repositories.
type ListRepositoriesRequest struct {
	Tenant   tenant.ID
	Registry tenant.RegistryID
	Page     meta.Page
}

// ListRepositories lists at most Page.Size repositories that hold a manifest.
func (s *Service) ListRepositories(ctx context.Context, req ListRepositoriesRequest) (respond.NamesResponse, error) {
	names, err := s.meta.ListRepositories(ctx, req.Tenant, req.Registry, respond.WithLookahead(req.Page))
	return respond.TrimPage(names, req.Page.Size), err
}
