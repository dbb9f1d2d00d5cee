package front

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ocihttp"
)

// Endpoints is a service's handler, by endpoint of the distribution API; 404 for
// endpoints that the service does not have.
type Endpoints map[ocihttp.Kind]Methods

// ServeHTTP serves a request that passed the front.
func (e Endpoints) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	methods, ok := e[CallOf(r.Context()).Route.Kind]
	if !ok {
		WriteError(w, r, endpointNotFound())
		return
	}
	methods.ServeHTTP(w, r)
}

// Methods is an endpoint's handler, by method; 405 for all others.
type Methods map[string]http.Handler

// ServeHTTP serves a request that passed the front.
func (m Methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := m[r.Method]; ok {
		h.ServeHTTP(w, r)
		return
	}
	WriteError(w, r, methodNotAllowed(w, slices.Sorted(maps.Keys(m))...))
}

func endpointNotFound() error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "the distribution API has no such endpoint here")
}

// methodNotAllowed is the error for a method that the path does not have. It names
// in Allow those it has.
func methodNotAllowed(w http.ResponseWriter, allowed ...string) error {
	list := strings.Join(allowed, ", ")
	w.Header().Set("Allow", list)
	return fault.New(fault.Unsupported, fault.UnsupportedReason, "this path takes %s only", list)
}
