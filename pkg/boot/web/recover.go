package web

import (
	"errors"
	"net/http"
	"runtime/debug"
)

type recoverer struct {
	Middleware
	next http.Handler
}

// ServeHTTP answers for a handler that panicked. When its answer had begun
// already, only cutting the connection tells the client that it is not whole.
func (c recoverer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(http.ErrAbortHandler)
		}
		c.Metrics.panics.WithLabelValues(c.Listener).Inc()
		c.Log.ErrorContext(r.Context(), "panic", "value", p, "stack", string(debug.Stack()))
		if requestOf(r.Context()).out.status != 0 {
			panic(http.ErrAbortHandler)
		}
		if c.Fail == nil {
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		c.Fail(w, r)
	}()
	c.next.ServeHTTP(w, r)
}
