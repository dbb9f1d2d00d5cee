package admin

import (
	"context"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
)

// probeKey is the context key of a *bool: whether the gateway has a method of the
// API for the request, which is not called.
type probeKey struct{}

// answerProbe is the gateway's middleware that answers requests of methodsOf.
func answerProbe(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, pathParams map[string]string) {
		if taken, ok := r.Context().Value(probeKey{}).(*bool); ok {
			*taken = true
			return
		}
		next(w, r, pathParams)
	}
}

// methodsOf are the HTTP methods that the request's path takes. The gateway does
// not tell them but by taking a request.
func methodsOf(mux *runtime.ServeMux, w http.ResponseWriter, r *http.Request) []string {
	var methods []string
	for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodPatch, http.MethodPost, http.MethodPut} {
		taken := false
		probe := r.WithContext(context.WithValue(r.Context(), probeKey{}, &taken))
		probe.Method = method
		mux.ServeHTTP(w, probe)
		if taken {
			methods = append(methods, method)
		}
	}
	return methods
}
