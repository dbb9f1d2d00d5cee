package upstream

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
)

// metrics are the metrics of all upstreams of the process.
type metrics struct {
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	limit     *prometheus.GaugeVec
	remaining *prometheus.GaugeVec
	reset     *prometheus.GaugeVec
	state     *prometheus.GaugeVec
}

// newMetrics registers the metrics; reg may be nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	labels := []string{"tenant", "upstream"}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_upstream_requests_total",
			Help: "Requests to upstreams, by what they came to: found, not_here, denied, outage, rate_limited, or left when its client was gone.",
		}, append(labels, "outcome")),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "berth_upstream_request_seconds",
			Help:    "Time that upstreams took for a document or the header of a blob, token and redirects included.",
			Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, labels),
		limit: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_upstream_ratelimit_limit",
			Help: "Requests that the upstream said it allows in its window.",
		}, labels),
		remaining: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_upstream_ratelimit_remaining",
			Help: "Requests that the upstream said it still allows.",
		}, labels),
		reset: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_upstream_ratelimit_reset_timestamp_seconds",
			Help: "When the upstream allows all of them again, at the latest, as a Unix time; 0 if it did not say.",
		}, labels),
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_upstream_breaker_state",
			Help: "Circuit breaker of the upstream: 0 closed, 1 half-open, 2 open.",
		}, labels),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.seconds, m.limit, m.remaining, m.reset, m.state)
	}
	return m
}

// series are the metrics of one upstream.
type series struct {
	metrics          *metrics
	tenant, upstream string
}

func (m *metrics) of(tenant, upstream string) series {
	m.state.WithLabelValues(tenant, upstream).Set(0)
	return series{metrics: m, tenant: tenant, upstream: upstream}
}

// forget removes the series. They begin again with the next request to the
// upstream.
func (s series) forget() {
	labels := prometheus.Labels{"tenant": s.tenant, "upstream": s.upstream}
	s.metrics.requests.DeletePartialMatch(labels)
	s.metrics.seconds.DeletePartialMatch(labels)
	s.metrics.limit.DeletePartialMatch(labels)
	s.metrics.remaining.DeletePartialMatch(labels)
	s.metrics.reset.DeletePartialMatch(labels)
	s.metrics.state.DeletePartialMatch(labels)
}

func (s series) rateLimit(l RateLimit) {
	reset := 0.0
	if !l.Reset.IsZero() {
		reset = float64(l.Reset.Unix())
	}
	s.metrics.limit.WithLabelValues(s.tenant, s.upstream).Set(float64(l.Limit))
	s.metrics.remaining.WithLabelValues(s.tenant, s.upstream).Set(float64(l.Remaining))
	s.metrics.reset.WithLabelValues(s.tenant, s.upstream).Set(reset)
}

func (s series) state(to gobreaker.State) {
	s.metrics.state.WithLabelValues(s.tenant, s.upstream).Set(float64(to))
}
