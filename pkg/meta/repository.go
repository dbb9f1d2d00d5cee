package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Repository is a repository as lists show it.
type Repository struct {
	Name      string
	Manifests int64
	Tags      int64
	Size      int64 // bytes of the blobs linked here; they may be shared with other repositories
	CreatedAt time.Time
}

// Repositories keeps the hosted repositories of a registry. The first push creates
// a repository; it is visible once it holds a manifest.
type Repositories interface {
	// ListRepositories pages names in byte order; only repositories that hold a
	// manifest are listed. A page costs the same at any length of the list.
	ListRepositories(ctx context.Context, t tenant.ID, r tenant.RegistryID, p Page) ([]string, error)
	// RepositoriesBetween is ListRepositories for a part of the names, in either
	// order.
	RepositoriesBetween(ctx context.Context, t tenant.ID, r tenant.RegistryID, b Between[string]) ([]string, error)
	// FindRepository returns fault.NameUnknown when it does not exist.
	FindRepository(ctx context.Context, r Repo) (Repository, error)
	// DeleteRepository frees the name at once. The content can be restored for
	// Lifetimes.Undelete (DeletedRepositories); then the janitor removes it.
	DeleteRepository(ctx context.Context, by Cause, r Repo) error
}
