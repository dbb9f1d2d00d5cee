package registry

import (
	"context"
	"net/http"

	"github.com/berth-registry/berth/services/internal/front"
)

func nameOf(c *front.Call) NameBlob { return NameBlob{Repo: c.Repo(), Digest: c.Route.Digest} }

func decodeOpenBlob(ctx context.Context, r *http.Request) (OpenBlob, error) {
	c := front.CallOf(ctx)
	return OpenBlob{NameBlob: nameOf(c), Redirect: c.Site.Settings.RedirectBlobs, Range: r.Header.Get("Range")}, nil
}

func decodeStatBlob(ctx context.Context, _ *http.Request) (StatBlob, error) {
	c := front.CallOf(ctx)
	return StatBlob{NameBlob: nameOf(c), MayPush: c.MayPush()}, nil
}

func decodeDeleteBlob(ctx context.Context, _ *http.Request) (DeleteBlob, error) {
	c := front.CallOf(ctx)
	return DeleteBlob{NameBlob: nameOf(c), By: c.Cause(ctx)}, nil
}
