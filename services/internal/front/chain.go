package front

import (
	"net/http"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ocihttp"
)

// MayPush says whether the account may push to the repository now, whatever the
// token carries: clients look for blobs with a token for pull alone, and then push
// with another.
func (c *Call) MayPush() bool {
	return access.Allowed(c.Site, c.Principal, c.Route.Name).Has(access.Push)
}

// MayUseChain decides whether other members of the chain may answer for what the
// registry does not host. A push must not be answered by them: a client does not
// upload what a HEAD says is there, and few say by then that they are pushing.
//
//   - Without a credential, a HEAD is refused with a challenge: the token that the
//     client gets says what the HEAD is about.
//   - A token that was asked to carry push, granted or not, sees hosted content.
//   - So does an account that may push, except for a HEAD of a manifest with a token
//     for pull alone: that is a pull.
//
// An error is the answer to the client. Without one, and without the right, the
// content is not here.
func (c *Call) MayUseChain(method string) (bool, error) {
	push := access.Repository(c.Route.Name, access.Push)
	switch {
	case c.Upstream != "", method != http.MethodHead, !c.isContent():
		return true, nil
	case c.claims == nil && c.Principal.Anonymous():
		return false, &challenge{
			error: fault.New(fault.Unauthenticated, fault.UnauthorizedReason,
				"the content is not in this registry; request a token to pull through its upstream group"),
			scope: access.Repository(c.Route.Name, access.Pull),
		}
	case c.claims != nil && c.claims.Requested(push).Has(access.Push):
		return false, c.require(push)
	case c.claims != nil && c.Route.Kind == ocihttp.Manifest:
		return true, nil
	default:
		return !c.MayPush(), nil
	}
}

// isContent says whether the call is for a manifest or a blob.
func (c *Call) isContent() bool {
	return c.Route.Kind == ocihttp.Manifest || c.Route.Kind == ocihttp.Blob
}

// BeforeProxy puts before the proxy service what all requests pass that reach it,
// from whichever process they come. What MayUseChain refuses ends here, and so
// does a request that came through too many registries: their chains lead back to
// one another (contract row E12).
func BeforeProxy(proxy http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := CallOf(r.Context()).checkProxy(r.Method); err != nil {
			WriteError(w, r, err)
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

func (c *Call) checkProxy(method string) error {
	if c.Hops > ocihttp.MaxHops {
		return fault.New(fault.BadUpstream, fault.UnavailableReason,
			"the request came through more than %d registries; the upstreams of one of them lead back to it", ocihttp.MaxHops)
	}
	may, err := c.MayUseChain(method)
	switch {
	case may || err != nil:
		return err
	case c.Route.Kind == ocihttp.Blob:
		return fault.New(fault.NotFound, fault.BlobUnknown, "the blob is not in this registry")
	default:
		return fault.New(fault.NotFound, fault.ManifestUnknown, "the manifest is not in this registry")
	}
}
