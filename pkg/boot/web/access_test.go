package web

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
)

// served is a request that is answered with 200, with all that a front notes.
func served() func() {
	m, _ := newMiddleware(io.Discard)
	h := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		SetRoute(r.Context(), "manifest")
		AddLogAttrs(r.Context(), slog.String("tenant", "acme"), slog.String("registry", "main"))
		SetPrincipal(r.Context(), "serviceAccounts/ci")
		w.WriteHeader(http.StatusOK)
	}))
	r := httptest.NewRequest(http.MethodGet, "/v2/app/manifests/1", nil)
	w := httptest.NewRecorder()
	return func() { h.ServeHTTP(w, r) }
}

// maxAllocations is how many a served request may cost in the middleware. There
// are 31, and were 33 before refusals said why. Under the race detector pools
// forget, which costs some more.
const maxAllocations = 40 + forgotten

// TestM7_AccessLineIsCheap counts the allocations of a request that is served.
func TestM7_AccessLineIsCheap(t *testing.T) {
	if n := testing.AllocsPerRun(1000, served()); n > maxAllocations {
		t.Errorf("%v allocations, want at most %d", n, maxAllocations)
	}
}

func BenchmarkAccessLine(b *testing.B) {
	serve := served()
	b.ReportAllocs()
	for b.Loop() {
		serve()
	}
}
