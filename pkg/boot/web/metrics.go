package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts the requests of all listeners. Its labels are bounded: no
// host, tenant or repository is among them.
type Metrics struct {
	duration *prometheus.HistogramVec
	received *prometheus.CounterVec
	sent     *prometheus.CounterVec
	inFlight *prometheus.GaugeVec
	panics   *prometheus.CounterVec
}

// NewMetrics registers the metrics; it panics when reg has them already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "berth_http_request_duration_seconds",
			Help:    "Time from the request's header to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 600},
		}, []string{"listener", "method", "route", "status"}),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_http_received_bytes_total",
			Help: "Bytes of request bodies.",
		}, []string{"listener", "route"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_http_sent_bytes_total",
			Help: "Bytes of answer bodies.",
		}, []string{"listener", "route"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_http_requests_in_flight",
			Help: "Requests being served.",
		}, []string{"listener"}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_http_panics_total",
			Help: "Handlers that panicked: each is a defect.",
		}, []string{"listener"}),
	}
	reg.MustRegister(m.duration, m.received, m.sent, m.inFlight, m.panics)
	return m
}

func (m *Metrics) observe(listener, method, route string, status int, took time.Duration, in, out int64) {
	m.duration.WithLabelValues(listener, methodLabel(method), route, strconv.Itoa(status/100)+"xx").Observe(took.Seconds())
	m.received.WithLabelValues(listener, route).Add(float64(in))
	m.sent.WithLabelValues(listener, route).Add(float64(out))
}

// methodLabel bounds what a client may write as method.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	default:
		return "_OTHER"
	}
}
