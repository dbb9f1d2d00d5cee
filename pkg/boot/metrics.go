package boot

import (
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
)

// newMetrics makes the metrics registry of a process, with the Go and process
// collectors and berth_build_info.
func newMetrics() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	v := ReadVersion()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "berth_build_info",
		Help:        "Always 1; the labels say which Berth this is.",
		ConstLabels: prometheus.Labels{"version": v.Version, "commit": v.Commit, "go": v.Go},
	})
	build.Set(1)
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build)
	return reg
}

// opsHandler serves the ops listener: /metrics for Prometheus, /healthz while the
// process runs, /readyz from health. It is never part of the data listener.
func opsHandler(metrics *prometheus.Registry, health *Health, hosts web.Hosts) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 8}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		// The probe may have left.
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.Handle("GET /readyz", health)
	return web.Operators{Hosts: hosts, Refuse: func(w http.ResponseWriter, _ *http.Request, status int, err error) {
		http.Error(w, fault.From(err).Message, status)
	}}.Wrap(mux)
}
