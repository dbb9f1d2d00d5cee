package webhooks

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/meta"
)

// How attempts end, as labels.
const (
	endDelivered = "delivered"
	endFailed    = "failed"
	endDead      = "dead"
	endDropped   = "dropped"
)

// metrics are those of the webhooks that this process serves. None is of a tenant: there may be
// many of them.
type metrics struct {
	made, errors prometheus.Counter
	ended        *prometheus.CounterVec
	took         prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		made: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_webhook_deliveries_total",
			Help: "Deliveries that were made of events for webhooks.",
		}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_webhook_errors_total",
			Help: "Times that webhooks could not be served, such as in an outage of the database; each is tried again.",
		}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_webhook_attempts_total",
			Help: "Attempts to send deliveries, by how they ended: delivered, failed (it is tried again), dead (it is not), dropped (too many waited).",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "berth_webhook_attempt_seconds", Buckets: []float64{.05, .25, 1, 5, 15},
			Help: "How long attempts to send deliveries took.",
		}),
	}
	for _, end := range []string{endDelivered, endFailed, endDead, endDropped} {
		m.ended.WithLabelValues(end)
	}
	if reg != nil {
		reg.MustRegister(m.made, m.errors, m.ended, m.took)
	}
	return m
}

func (m *metrics) attempted(r meta.DeliveryResult) {
	end := map[meta.DeliveryState]string{meta.DeliveryDelivered: endDelivered, meta.DeliveryPending: endFailed, meta.DeliveryDead: endDead}[r.State]
	m.ended.WithLabelValues(end).Inc()
}
