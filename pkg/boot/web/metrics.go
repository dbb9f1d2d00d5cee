package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts the requests of all listeners. Names follow OpenTelemetry's
// conventions for HTTP servers. Labels are bounded: no host, tenant or repository.
type Metrics struct {
	duration *prometheus.HistogramVec
	received *prometheus.CounterVec
	sent     *prometheus.CounterVec
	inFlight *prometheus.GaugeVec
	panics   *prometheus.CounterVec
	errors   *prometheus.CounterVec
	logins   *prometheus.CounterVec
	tls      *prometheus.CounterVec
	calls    *prometheus.CounterVec
	rpcs     *prometheus.HistogramVec
}

// NewMetrics registers the metrics; it panics when reg has them already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "http_server_request_duration_seconds",
			Help:    "Time from the request's header to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 600},
		}, []string{"listener", "http_request_method", "http_route", "http_response_status_code"}),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_http_received_bytes_total",
			Help: "Bytes of request bodies.",
		}, []string{"listener", "route"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_http_sent_bytes_total",
			Help: "Bytes of answer bodies.",
		}, []string{"listener", "route"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "http_server_active_requests",
			Help: "Requests being served.",
		}, []string{"listener"}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_http_panics_total",
			Help: "Handlers that panicked: each is a defect.",
		}, []string{"listener"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_http_errors_total",
			Help: "Answers with a status of 400 or above, by their error code.",
		}, []string{"listener", "route", "status", "code"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_login_failures_total",
			Help: "Logins that failed: by a wrong credential, or because the account or the address failed too often before.",
		}, []string{"listener", "reason"}),
		tls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_tls_handshake_failures_total",
			Help: "Connections that ended in the TLS handshake.",
		}, []string{"listener"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_internal_calls_refused_total",
			Help: "Calls between processes that were refused: unsigned, by another key, expired, changed in transit, replayed, or invalid.",
		}, []string{"reason"}),
		rpcs: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "berth_grpc_request_duration_seconds",
			Help:    "Time of a call of the admin API over gRPC, by its method and the status it ended with.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"method", "status"}),
	}
	reg.MustRegister(m.duration, m.received, m.sent, m.inFlight, m.panics, m.errors, m.logins, m.tls, m.calls, m.rpcs)
	return m
}

func (m *Metrics) observe(listener, method, route string, status int, took time.Duration, in, out int64) {
	m.duration.WithLabelValues(listener, methodLabel(method), route, statusLabel(status)).Observe(took.Seconds())
	m.received.WithLabelValues(listener, route).Add(float64(in))
	m.sent.WithLabelValues(listener, route).Add(float64(out))
}

// refused counts an error response. Codes are constants.
func (m *Metrics) refused(listener, route string, status int, code string) {
	m.errors.WithLabelValues(listener, route, statusLabel(status), code).Inc()
}

// LoginFailed counts a failed login at a listener that has no Middleware. It does
// nothing for nil.
func (m *Metrics) LoginFailed(listener, why string) {
	if m != nil {
		m.logins.WithLabelValues(listener, why).Inc()
	}
}

// ObserveRPC counts and times a call over gRPC. Both labels are of a few values.
// It does nothing for nil.
func (m *Metrics) ObserveRPC(method, status string, took time.Duration) {
	if m != nil {
		m.rpcs.WithLabelValues(method, status).Observe(took.Seconds())
	}
}

// statuses are the labels of all statuses, made once.
var statuses = func() [600]string {
	var labels [600]string
	for i := range labels {
		labels[i] = strconv.Itoa(i)
	}
	return labels
}()

func statusLabel(status int) string {
	if status < 0 || status >= len(statuses) {
		return "other"
	}
	return statuses[status]
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
