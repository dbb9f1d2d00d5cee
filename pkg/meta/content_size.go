package meta

import (
	"context"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// ContentSize is what a registry, a repository or an image takes. A blob counts once.
type ContentSize struct {
	Manifests, ManifestBytes int64
	Blobs, BlobBytes         int64
	OwnBlobs, OwnBlobBytes   int64 // of these, what nothing else of the tenant holds, neither its trash nor its caches
}

// ContentSizes measures what is stored. A measurement reads a row for each manifest and each
// blob.
type ContentSizes interface {
	// RegistrySize measures the repositories of a registry, whether it exists or not.
	RegistrySize(ctx context.Context, t tenant.ID, r tenant.RegistryID) (ContentSize, error)
	// RepositorySize returns fault.NameUnknown if the repository does not exist.
	RepositorySize(ctx context.Context, r Repo) (ContentSize, error)
	// ImageSize measures a manifest and, of an index, all that is below it and there. What
	// other manifests of the repository name, too, is not its own. fault.ManifestUnknown if
	// the manifest does not exist.
	ImageSize(ctx context.Context, r Repo, ref oci.Reference) (ContentSize, error)
}
