package registry

import (
	"context"
	"errors"
	"net/http"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

// notHosted is the error for content that the registry does not host. Clients see
// the same error without the right to pull; this type distinguishes the two.
type notHosted struct{ error }

// Unwrap is the fault that clients get if no chain is asked.
func (e notHosted) Unwrap() error { return e.error }

// markNotHosted makes err notHosted if it is an authoritative absence.
func markNotHosted(err error) error {
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return notHosted{err}
	}
	return err
}

// fallbackToProxy serves a pull from hosted content. If the content is not hosted
// and the registry has a group, the proxy service serves it.
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

// proxiedList serves a list. The proxy service serves that of a registry with a
// group, which includes the lists of its chain.
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
