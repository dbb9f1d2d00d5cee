package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/kit"
)

// NameBlob names a blob of a repository.
type NameBlob struct {
	Repo   meta.Repo
	Digest oci.Digest
}

// OpenBlob is a blob with its bytes; whoever gets one closes Content.
type OpenBlob struct {
	meta.Blob
	Content blob.Content
}

// OpenBlob opens a blob. One whose bytes the store has lost, or has in another
// size, is marked suspect, so that the next push of it uploads it again. It is
// answered as an outage: it exists, and "not found" would be believed.
func (s *Service) OpenBlob(ctx context.Context, req NameBlob) (OpenBlob, error) {
	b, err := s.meta.FindBlob(ctx, req.Repo, req.Digest)
	if err != nil {
		return OpenBlob{}, err
	}
	content, err := s.blobs.Open(ctx, b.Key)
	switch {
	case errors.Is(err, blob.ErrMissing):
		return OpenBlob{}, s.suspect(ctx, b, err)
	case err != nil:
		return OpenBlob{}, fault.Down(err, "the content of this blob")
	case content.Size() != b.Size:
		err := fmt.Errorf("object %s has %d bytes instead of %d", b.Key, content.Size(), b.Size)
		return OpenBlob{}, errors.Join(s.suspect(ctx, b, err), content.Close())
	}
	return OpenBlob{Blob: b, Content: content}, nil
}

func (s *Service) suspect(ctx context.Context, b meta.Blob, cause error) error {
	cause = fmt.Errorf("blob %s at %s: %w", b.Digest, b.Key, errors.Join(cause, s.meta.MarkSuspect(ctx, b)))
	return fault.Down(cause, "the content of this blob")
}

// StatBlob asks whether a blob is there.
type StatBlob struct {
	NameBlob
	MayPush bool // the caller may push here, and will not upload what is there
}

// StatBlob finds a blob without opening it. A caller who may push is promised
// that it stays long enough for the manifest that will name it (storage
// protocol, section 5).
func (s *Service) StatBlob(ctx context.Context, req StatBlob) (meta.Blob, error) {
	if req.MayPush {
		return s.meta.CheckBlob(ctx, req.Repo, req.Digest)
	}
	return s.meta.FindBlob(ctx, req.Repo, req.Digest)
}

// DeleteBlob names a blob to delete from a repository.
type DeleteBlob struct {
	NameBlob
	By meta.Cause
}

// DeleteBlob removes the blob from the repository, not from others that hold it.
func (s *Service) DeleteBlob(ctx context.Context, req DeleteBlob) (kit.Done, error) {
	return kit.Done{}, s.meta.DeleteBlob(ctx, req.By, req.Repo, req.Digest)
}
