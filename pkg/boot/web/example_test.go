package web_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/boot/web"
)

func ExampleMiddleware_Wrap() {
	middleware := web.Middleware{
		Listener: "data", Scheme: "https",
		Log:     slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Tracer:  noop.NewTracerProvider().Tracer(""),
		Metrics: web.NewMetrics(prometheus.NewRegistry()),
	}
	handler := middleware.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		web.SetRoute(r.Context(), "base")                           // for metrics
		web.AddLogAttrs(r.Context(), slog.String("tenant", "acme")) // for the access line
		fmt.Fprint(w, web.Scheme(r.Context()), "://", r.Host, "/")  // what the client typed
	}))

	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://acme.test/v2/", nil))
	fmt.Println(w.Body, len(w.Header().Get(web.HeaderRequestID)))
	// Output: https://acme.test/ 26
}
