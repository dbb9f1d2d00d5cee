package registry

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

// blobType is what every blob is served as, whatever its manifest calls it: a
// browser shall never take one for a page (contract row A11).
const blobType = "application/octet-stream"

func nameOf(c *front.Call) NameBlob { return NameBlob{Repo: c.Repo(), Digest: c.Route.Digest} }

func decodeOpenBlob(ctx context.Context, r *http.Request) (OpenBlob, error) {
	c := front.CallOf(ctx)
	return OpenBlob{NameBlob: nameOf(c), Redirect: c.Site.Settings.RedirectBlobs, Range: r.Header.Get("Range")}, nil
}

// encodeBlob streams: Range, several ranges and If-Range are net/http's.
func (s *Service) encodeBlob(log *slog.Logger) func(context.Context, http.ResponseWriter, OpenedBlob) error {
	return func(ctx context.Context, w http.ResponseWriter, b OpenedBlob) error {
		if b.URL != "" {
			return encodeRedirect(w, b)
		}
		defer func() {
			if err := s.readBlob(ctx, b); err != nil {
				log.WarnContext(ctx, "the content of a blob could not be read", "error", err)
			}
			if err := b.Content.Close(); err != nil {
				log.WarnContext(ctx, "a blob was not closed", "error", err)
			}
		}()
		setContent(w.Header(), b.Digest, blobType)
		kit.ServeContent(ctx, log, w, b.Content)
		return nil
	}
}

// encodeRedirect sends the client to the store, which takes care of Range. Nobody
// may keep the answer: the URL does not live long, and is as good as the blob.
func encodeRedirect(w http.ResponseWriter, b OpenedBlob) error {
	h := w.Header()
	h.Set("Docker-Content-Digest", b.Digest.String())
	h.Set("Cache-Control", "no-store")
	h.Set("Location", b.URL)
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

func decodeStatBlob(ctx context.Context, _ *http.Request) (StatBlob, error) {
	c := front.CallOf(ctx)
	mayPush := c.Allowed(access.Repository(c.Route.Name, access.Push)).Has(access.Push)
	return StatBlob{NameBlob: nameOf(c), MayPush: mayPush}, nil
}

func encodeBlobHead(_ context.Context, w http.ResponseWriter, b meta.Blob) error {
	h := w.Header()
	setContent(h, b.Digest, blobType)
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(b.Size, 10))
	w.WriteHeader(http.StatusOK)
	return nil
}

func decodeDeleteBlob(ctx context.Context, _ *http.Request) (DeleteBlob, error) {
	c := front.CallOf(ctx)
	return DeleteBlob{NameBlob: nameOf(c), By: c.Cause(ctx)}, nil
}
