package meta

import (
	"context"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Blob is a live blob of a repository.
type Blob struct {
	Digest oci.Digest
	Size   int64
	Key    blob.Key // of its object
	// Suspect says that a read found the object missing or wrong; FindBlob alone tells.
	Suspect bool
	Damage  Damage // that was reported; FindBlob alone tells
}

// Blobs records which blobs a repository holds. A blob exists in a registry only if
// one of its repositories holds it, even where others have the bytes (contract row
// C1). Absence is fault.BlobUnknown.
type Blobs interface {
	// FindBlob answers GET, and HEAD by callers who may not push: one
	// statement, no write.
	FindBlob(ctx context.Context, r Repo, d oci.Digest) (Blob, error)
	// CheckBlob answers HEAD by callers who may push, and prolongs the blob's
	// life so that the manifest that will name it finds it (protocol section
	// 5). A suspect blob is absent, so that the client uploads it again.
	CheckBlob(ctx context.Context, r Repo, d oci.Digest) (Blob, error)
	// FindSources lists up to limit repositories of the tenant that hold the
	// blob, for a mount without "from".
	FindSources(ctx context.Context, t tenant.ID, d oci.Digest, limit int) ([]Repo, error)
	// MountBlob links the blob of from into to. Both are of one tenant.
	MountBlob(ctx context.Context, by Cause, from, to Repo, d oci.Digest) (Blob, error)
	// DeleteBlob unlinks the blob; fault.UnsupportedReason (405) while a manifest of
	// the repository references it.
	DeleteBlob(ctx context.Context, by Cause, r Repo, d oci.Digest) error
	// MarkSuspect records that the object of b is missing or wrong, unless another
	// object has repaired the blob since.
	MarkSuspect(ctx context.Context, b Blob) error
}
