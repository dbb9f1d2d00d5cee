package registry

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/answer"
)

// ListRepositories asks for one page of a registry's repositories.
type ListRepositories struct {
	Tenant   tenant.ID
	Registry tenant.RegistryID
	Page     meta.Page
}

// ListRepositories lists at most Page.Size repositories that hold a manifest.
func (s *Service) ListRepositories(ctx context.Context, req ListRepositories) (answer.Names, error) {
	names, err := s.meta.ListRepositories(ctx, req.Tenant, req.Registry, answer.OneMore(req.Page))
	return answer.PageOf(names, req.Page.Size), err
}
