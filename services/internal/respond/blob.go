package respond

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

// blobType is what every blob is served as, whatever its manifest calls it: a
// browser must not render one as a page (contract row A11).
const blobType = "application/octet-stream"

// redirectLife is how long a client has to follow a redirect. It is the longest
// allowed life, to tolerate clock skew of the store.
const redirectLife = blob.MaxPresignLife

// cleanupTimeout bounds what is done for a request whose answer was cut off.
const cleanupTimeout = 10 * time.Second

// ErrContentLost is wrapped by the error for a blob whose stored bytes are missing or
// wrong.
var ErrContentLost = errors.New("the stored bytes are missing or wrong")

// OpenBlobResponse is a blob with its bytes, or with the URL that gives them. The
// caller closes Content.
type OpenBlobResponse struct {
	meta.Blob
	Content blob.Content // nil when there is a URL
	URL     string       // for GET, for redirectLife; anyone with the URL can read the blob
	Sends   int64        // how many bytes a client gets from the URL
	Cached  bool         // it is an upstream's, which was not asked for it
}

// Blobs opens and sends the blobs of a store.
type Blobs struct {
	Store blob.Opener
	Meta  interface {
		MarkSuspect(ctx context.Context, b meta.Blob) error
	}
	Log *slog.Logger
	// Verify compares every blob with its digest while it is sent.
	Verify bool
}

// Open opens a blob that Meta found. One whose bytes the store has lost, or has
// in another size, is marked suspect, so that the next push of it uploads it
// again. It is answered as an outage that wraps ErrContentLost: it exists, and "not
// found" would be believed. redirect rather says where the bytes
// are, where the store lets clients fetch them; ranges is the Range header, as a
// hint for the store what will be read. A request for several ranges
// is not redirected: the store would send the whole. A suspect blob is sent as a whole and
// verified while it is, and so is every other with Verify; one that the scrub found rotten is not.
func (s Blobs) Open(ctx context.Context, b meta.Blob, redirect bool, ranges string) (OpenBlobResponse, error) {
	if b.Damage == meta.Rotten {
		return OpenBlobResponse{}, contentLost(b, errors.New("the scrub found it rotten"))
	}
	if b.Suspect || s.Verify {
		redirect, ranges = false, ""
	}
	if redirect && !strings.Contains(ranges, ",") {
		if to, err := s.redirect(ctx, b); err != nil || to.URL != "" {
			to.Sends = lengthOf(ranges, b.Size)
			return to, err
		}
	}
	content, err := blob.OpenRange(ctx, s.Store, b.Key, firstRange(ranges, b.Size))
	if err != nil {
		return OpenBlobResponse{}, s.openFailed(ctx, b, err)
	}
	if err := s.checkSize(ctx, b, content.Size()); err != nil {
		return OpenBlobResponse{}, errors.Join(err, content.Close())
	}
	if b.Suspect || s.Verify {
		content = verify(content, b.Digest)
	}
	return OpenBlobResponse{Blob: b, Content: content}, nil
}

// redirect has the URL empty where the store cannot sign one. The store is asked
// for the object first, at the price of a small request: it would tell the
// client "not found", unnoticed by Berth.
func (s Blobs) redirect(ctx context.Context, b meta.Blob) (OpenBlobResponse, error) {
	u, err := blob.Presign(ctx, s.Store, b.Key, redirectLife)
	if err != nil || u == "" {
		return OpenBlobResponse{}, err
	}
	size, err := s.Store.Stat(ctx, b.Key)
	if err != nil {
		return OpenBlobResponse{}, s.openFailed(ctx, b, err)
	}
	return OpenBlobResponse{Blob: b, URL: u}, s.checkSize(ctx, b, size)
}

// openFailed is the answer where a blob could not be opened.
func (s Blobs) openFailed(ctx context.Context, b meta.Blob, err error) error {
	if errors.Is(err, blob.ErrMissing) {
		return s.markSuspect(ctx, b, err)
	}
	return fault.Down(err, "the content of this blob")
}

// checkSize holds the size of the object against the blob's.
func (s Blobs) checkSize(ctx context.Context, b meta.Blob, size int64) error {
	if size == b.Size {
		return nil
	}
	return s.markSuspect(ctx, b, fmt.Errorf("object %s has %d bytes instead of %d", b.Key, size, b.Size))
}

func (s Blobs) markSuspect(ctx context.Context, b meta.Blob, cause error) error {
	return contentLost(b, errors.Join(cause, s.Meta.MarkSuspect(ctx, b)))
}

// contentLost is the answer where the bytes of a blob are missing or wrong.
func contentLost(b meta.Blob, cause error) error {
	cause = fmt.Errorf("blob %s at %s: %w", b.Digest, b.Key, errors.Join(ErrContentLost, cause))
	return fault.Wrap(cause, fault.Unavailable, fault.UnavailableReason,
		"the stored content of this blob is lost or damaged; a push of the blob repairs it, or retry later")
}

// Send streams a blob: Range, several ranges and If-Range are net/http's.
func (s Blobs) Send(ctx context.Context, w http.ResponseWriter, b OpenBlobResponse) error {
	if b.Cached {
		front.CallOf(ctx).SetCached(w.Header())
	}
	if b.URL != "" {
		front.CallOf(ctx).CountRedirect(w.Header(), b.Sends)
		return sendRedirect(w, b)
	}
	defer func() {
		if err := s.checkSent(ctx, b); err != nil {
			s.Log.WarnContext(ctx, "the content of a blob could not be read", "error", err)
		}
		if err := b.Content.Close(); err != nil {
			s.Log.WarnContext(ctx, "a blob was not closed", "error", err)
		}
	}()
	web.AllowPause(ctx, int64(front.CallOf(ctx).Site.Tenant))
	setContent(w.Header(), b.Digest, blobType)
	kit.ServeContent(ctx, s.Log, w, b.Content)
	return nil
}

// checkSent checks for errors while a blob's content was sent. Bytes that are
// missing or wrong make the blob suspect; a store that could not be read does
// not.
func (s Blobs) checkSent(ctx context.Context, b OpenBlobResponse) error {
	err := blob.ReadError(b.Content)
	switch {
	case errors.Is(err, blob.ErrMissing), errors.Is(err, blob.ErrDamaged):
	case ctx.Err() != nil:
		return nil // the client left
	default:
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return s.markSuspect(ctx, b.Blob, err)
}

// sendRedirect sends the client to the store, which serves Range. The
// answer must not be cached: the URL is short-lived, and gives access to the blob.
func sendRedirect(w http.ResponseWriter, b OpenBlobResponse) error {
	h := w.Header()
	h.Set("Docker-Content-Digest", b.Digest.String())
	h.Set("Cache-Control", "no-store")
	h.Set("Location", b.URL)
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

// setContent sets the headers of content that is addressed by its digest. The
// digest is the strong validator: If-None-Match and If-Range work by it.
func setContent(h http.Header, d oci.Digest, mediaType string) {
	h.Set("Content-Type", mediaType)
	h.Set("Docker-Content-Digest", d.String())
	h.Set("ETag", `"`+d.String()+`"`)
}

// WriteBlobHead answers HEAD.
func WriteBlobHead(_ context.Context, w http.ResponseWriter, b meta.Blob) error {
	h := w.Header()
	setContent(h, b.Digest, blobType)
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(b.Size, 10))
	w.WriteHeader(http.StatusOK)
	return nil
}
