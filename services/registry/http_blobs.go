package registry

import (
	"context"
	"net/http"

	"github.com/berth-registry/berth/services/internal/front"
)

func blobRefOf(c *front.Call) BlobRef { return BlobRef{Repo: c.Repo(), Digest: c.Route.Digest} }

func decodeOpenBlob(ctx context.Context, r *http.Request) (OpenBlobRequest, error) {
	c := front.CallOf(ctx)
	return OpenBlobRequest{BlobRef: blobRefOf(c), Redirect: c.Site.Settings.RedirectBlobs, Range: r.Header.Get("Range")}, nil
}

func decodeStatBlob(ctx context.Context, _ *http.Request) (StatBlobRequest, error) {
	c := front.CallOf(ctx)
	return StatBlobRequest{BlobRef: blobRefOf(c), MayPush: c.MayPush()}, nil
}

func decodeDeleteBlob(ctx context.Context, _ *http.Request) (DeleteBlobRequest, error) {
	c := front.CallOf(ctx)
	return DeleteBlobRequest{BlobRef: blobRefOf(c), By: c.Cause(ctx)}, nil
}
