package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// OpenBlob asks for the bytes of a blob.
type OpenBlob struct {
	NameBlob
	Redirect bool   // rather say where they are, where the store lets clients fetch them
	Range    string // the Range header, as a hint for the store what will be read
}

// OpenedBlob is a blob with its bytes, or with the URL that gives them. Whoever
// gets one closes Content.
type OpenedBlob struct {
	meta.Blob
	Content blob.Content // nil when there is a URL
	URL     string       // for GET, for redirectLife; it gives the blob to whoever has it
}

// redirectLife is how long a client has to follow a redirect. It is the longest
// there may be, so that clocks of stores may differ from ours by some of it.
const redirectLife = blob.MaxPresignLife

// OpenBlob opens a blob. One whose bytes the store has lost, or has in another
// size, is marked suspect, so that the next push of it uploads it again. It is
// answered as an outage: it exists, and "not found" would be believed.
func (s *Service) OpenBlob(ctx context.Context, req OpenBlob) (OpenedBlob, error) {
	b, err := s.meta.FindBlob(ctx, req.Repo, req.Digest)
	if err != nil {
		return OpenedBlob{}, miss(err)
	}
	if req.Redirect {
		if to, err := s.redirect(ctx, b); err != nil || to.URL != "" {
			return to, err
		}
	}
	content, err := blob.OpenRange(ctx, s.blobs, b.Key, firstRange(req.Range, b.Size))
	if err != nil {
		return OpenedBlob{}, s.lost(ctx, b, err)
	}
	if err := s.compare(ctx, b, content.Size()); err != nil {
		return OpenedBlob{}, errors.Join(err, content.Close())
	}
	return OpenedBlob{Blob: b, Content: content}, nil
}

// redirect has the URL empty where the store cannot sign one. The store is asked
// for the object first, at the price of a small request: it would say "not
// found" to the client, which would believe it, and we would never know.
func (s *Service) redirect(ctx context.Context, b meta.Blob) (OpenedBlob, error) {
	u, err := blob.Presign(ctx, s.blobs, b.Key, redirectLife)
	if err != nil || u == "" {
		return OpenedBlob{}, err
	}
	size, err := s.blobs.Stat(ctx, b.Key)
	if err != nil {
		return OpenedBlob{}, s.lost(ctx, b, err)
	}
	return OpenedBlob{Blob: b, URL: u}, s.compare(ctx, b, size)
}

// lost is the answer where a blob could not be opened.
func (s *Service) lost(ctx context.Context, b meta.Blob, err error) error {
	if errors.Is(err, blob.ErrMissing) {
		return s.suspect(ctx, b, err)
	}
	return fault.Down(err, "the content of this blob")
}

// compare holds the size of the object against the blob's.
func (s *Service) compare(ctx context.Context, b meta.Blob, size int64) error {
	if size == b.Size {
		return nil
	}
	return s.suspect(ctx, b, fmt.Errorf("object %s has %d bytes instead of %d", b.Key, size, b.Size))
}

// afterwards bounds what is done for a request whose answer was cut off.
const afterwards = 10 * time.Second

// readBlob is told what became of a blob's content while it was sent. Bytes
// that are missing or wrong make the blob suspect; a store that could not be
// read does not.
func (s *Service) readBlob(ctx context.Context, b OpenedBlob) error {
	err := blob.ReadError(b.Content)
	switch {
	case errors.Is(err, blob.ErrMissing), errors.Is(err, blob.ErrDamaged):
	case ctx.Err() != nil:
		return nil // the client left
	default:
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	return s.suspect(ctx, b.Blob, err)
}

func (s *Service) suspect(ctx context.Context, b meta.Blob, cause error) error {
	cause = fmt.Errorf("blob %s at %s: %w", b.Digest, b.Key, errors.Join(cause, s.meta.MarkSuspect(ctx, b)))
	return fault.Down(cause, "the content of this blob")
}

// StatBlob asks whether a blob is there.
type StatBlob struct {
	NameBlob
	MayPush bool // the caller may push here, and will not upload what is there: what is hosted, not what others have
}

// StatBlob finds a blob without opening it. A caller who may push is promised
// that it stays long enough for the manifest that will name it (storage
// protocol, section 5).
func (s *Service) StatBlob(ctx context.Context, req StatBlob) (meta.Blob, error) {
	if req.MayPush {
		return s.meta.CheckBlob(ctx, req.Repo, req.Digest)
	}
	b, err := s.meta.FindBlob(ctx, req.Repo, req.Digest)
	return b, miss(err)
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
