package front

import (
	"maps"
	"net/http"
	"slices"

	"github.com/berth-registry/berth/pkg/ocihttp"
)

// Methods is a service's handler: by endpoint, then by method. It answers 405
// for other methods of an endpoint it has, 404 for other endpoints.
type Methods map[ocihttp.Kind]map[string]http.Handler

// ServeHTTP serves a request that passed the front.
func (m Methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	endpoint := m[CallOf(r.Context()).Route.Kind]
	if h, ok := endpoint[r.Method]; ok {
		h.ServeHTTP(w, r)
		return
	}
	if endpoint == nil {
		WriteError(w, r, noEndpoint())
		return
	}
	WriteError(w, r, NotAllowed(w, slices.Sorted(maps.Keys(endpoint))...))
}
