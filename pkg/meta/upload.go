package meta

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/oci"
)

// UploadState is where an upload session is in its life.
type UploadState string

// The states of an upload session (protocol section 4).
const (
	UploadOpen      UploadState = "open"
	UploadSealed    UploadState = "sealed"
	UploadCommitted UploadState = "committed"
	UploadExpired   UploadState = "expired"
)

// Upload is an upload session. A writer with an older Epoch can record nothing.
type Upload struct {
	ID        uuid.UUID
	Repo      Repo
	State     UploadState
	Epoch     int64
	Algorithm oci.Algorithm
	HashState []byte     // oci.Hasher state at Stage.Offset; empty at 0
	Stage     blob.Stage // where the bytes are; Stage.Offset is the true offset
	Digest    oci.Digest // of a sealed or committed session
	ExpiresAt time.Time
}

// Uploads keeps upload sessions. A session is found only under its own tenant and
// repository (contract row C5). Absent, cancelled and expired sessions are
// fault.BlobUploadUnknown. A wrong offset is fault.OutOfRange with the true Offset.
type Uploads interface {
	UploadSessions
	UploadProgress
	UploadCommitter
}

// UploadSessions begins, finds and ends sessions.
type UploadSessions interface {
	// CreateUpload creates the session, the intent row of its object and, for the
	// first push, the repository. fault.QuotaExceeded when the tenant's staged bytes
	// are over their limit.
	CreateUpload(ctx context.Context, r Repo, a oci.Algorithm) (Upload, error)
	FindUpload(ctx context.Context, r Repo, id uuid.UUID) (Upload, error)
	// TakeUpload takes over an open session at the offset start; start < 0 means any
	// offset. It fences the previous writer.
	TakeUpload(ctx context.Context, r Repo, id uuid.UUID, start int64) (Upload, error)
	// CancelUpload ends the session and condemns its objects.
	CancelUpload(ctx context.Context, r Repo, id uuid.UUID) error
}

// UploadProgress records what the writer of a session has stored.
type UploadProgress interface {
	// IntendTail records a tail object before its first byte.
	IntendTail(ctx context.Context, u Upload, tail uuid.UUID) error
	// RecordMultipart records the store's multipart id of the session's object.
	RecordMultipart(ctx context.Context, u Upload, id string) error
	// AdvanceUpload moves the offset from u.Stage.Offset to p.Offset by
	// compare-and-set on (id, epoch, offset) and returns the updated session. Its
	// error wraps blob.ErrFenced when another writer took over.
	AdvanceUpload(ctx context.Context, u Upload, p blob.Progress) (Upload, error)
}

// UploadCommitter turns the bytes of a session into a blob.
type UploadCommitter interface {
	// SealUpload ends writing: only CommitUpload with this digest, or a repeated
	// SealUpload with it, continues. Another digest is fault.DigestInvalid.
	// It accepts a session that is open at u's epoch and offset, or sealed.
	// A session already committed with this digest is returned as it is.
	SealUpload(ctx context.Context, u Upload, d oci.Digest) (Upload, error)
	// CommitUpload makes the blob live, once even if called repeatedly: object live,
	// blob and link upserted, quota charged if the blob is new to the tenant
	// (fault.QuotaExceeded). heal says that the object of the existing blob row is
	// missing or wrong.
	CommitUpload(ctx context.Context, by Cause, u Upload, heal bool) (Blob, error)
	// FindTenantBlob finds the blob with the upload's digest in any repository of the
	// tenant, to examine it before CommitUpload; fault.BlobUnknown when it is new.
	FindTenantBlob(ctx context.Context, u Upload) (Blob, error)
}
