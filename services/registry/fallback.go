package registry

import (
	"context"
	"errors"
	"net/http"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

// notHosted is the error for content that the registry does not host. To clients
// it looks like the refusal of a caller who has no right to pull; here the two must
// be distinguished.
type notHosted struct{ error }

// Unwrap is the fault that becomes the answer where no chain is asked.
func (e notHosted) Unwrap() error { return e.error }

// markNotHosted makes err notHosted if it is an authoritative absence.
func markNotHosted(err error) error {
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return notHosted{err}
	}
	return err
}

// fallbackToProxy serves a pull: from what the registry hosts, and where it does not
// host the content and has a group, by the proxy service.
func fallbackToProxy[Req, Resp any](
	proxy http.Handler, op kit.Op[Req, Resp],
	decode func(context.Context, *http.Request) (Req, error),
	encode func(context.Context, http.ResponseWriter, Resp) error,
) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := kit.WithRequest(r.Context(), r)
		req, err := decode(ctx, r)
		var resp Resp
		if err == nil {
			resp, err = op.Call(ctx, req)
		}
		if c := front.CallOf(ctx); errors.As(err, new(notHosted)) && hasGroup(c) {
			if err = c.CheckChain(r.Method, err); err == nil {
				proxy.ServeHTTP(w, r)
				return
			}
		}
		if err == nil {
			err = encode(ctx, w, resp)
		}
		if err != nil {
			front.WriteError(w, r, err)
		}
	})
}

// proxiedList serves a list. That of a registry with a group is answered by the
// proxy service, since its chain has more to list than what is hosted.
func proxiedList(proxy, hosted http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hasGroup(front.CallOf(r.Context())) {
			front.BeforeProxy(proxy).ServeHTTP(w, r)
			return
		}
		hosted.ServeHTTP(w, r)
	})
}

func hasGroup(c *front.Call) bool { return c.Site.Settings.UpstreamGroup != "" }
