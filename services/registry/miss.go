package registry

import (
	"cmp"
	"errors"
	"net/http"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/services/internal/front"
)

// missed is the error for content that the registry does not host. Clients
// cannot tell it from the refusal of somebody who has no right to pull; here
// they must be told apart.
type missed struct{ error }

// Unwrap is the fault that becomes the answer where nobody else is asked.
func (m missed) Unwrap() error { return m.error }

// miss makes err missed if it says that nothing is there.
func miss(err error) error {
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return missed{err}
	}
	return err
}

// orElse answers errors, but hands the request of a pull that missed on where
// the registry has a group that may answer for it.
func orElse(proxy http.Handler) func(http.ResponseWriter, *http.Request, error) {
	return func(w http.ResponseWriter, r *http.Request, err error) {
		if c := front.CallOf(r.Context()); errors.As(err, new(missed)) && hasGroup(c) {
			may, refusal := c.MayUseChain(r.Method)
			if may {
				proxy.ServeHTTP(w, r)
				return
			}
			err = cmp.Or(refusal, err)
		}
		front.WriteError(w, r, err)
	}
}

// merged serves a list: of a registry with a group, which has more to list than
// what is hosted, by the proxy service.
func merged(proxy, hosted http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hasGroup(front.CallOf(r.Context())) {
			proxy.ServeHTTP(w, r)
			return
		}
		hosted.ServeHTTP(w, r)
	})
}

func hasGroup(c *front.Call) bool { return c.Site.Settings.UpstreamGroup != "" }
