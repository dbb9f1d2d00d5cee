package janitor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// progress has the janitor's metrics: for each task its last run, on any node, and
// its work in this process.
type progress struct {
	last     *prometheus.GaugeVec
	duration *prometheus.GaugeVec
	items    *prometheus.CounterVec
	failed   *prometheus.CounterVec
	stored   prometheus.Gauge
}

func newProgress(reg prometheus.Registerer) *progress {
	p := &progress{
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_janitor_last_run_timestamp_seconds",
			Help: "When this process last finished a run of the task without an error.",
		}, []string{"task"}),
		duration: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_janitor_last_run_duration_seconds",
			Help: "How long its last run took, whether or not it failed.",
		}, []string{"task"}),
		items: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_janitor_items_total",
			Help: "Rows and objects that the task removed, marked or, for reconcile, compared.",
		}, []string{"task"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_janitor_errors_total",
			Help: "Runs of the task that failed; each is tried again.",
		}, []string{"task"}),
		stored: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "berth_stored_bytes",
			Help: "Bytes of blobs that all tenants together are charged for, as it was a few minutes ago. Every janitor of a deployment has the same number: take the maximum.",
		}),
	}
	if reg != nil {
		reg.MustRegister(p.last, p.duration, p.items, p.failed, p.stored)
	}
	return p
}

// observe records the end of a run, with its begin and number of items.
func (p *progress) observe(task string, began time.Time, items int, err error) {
	p.duration.WithLabelValues(task).Set(time.Since(began).Seconds())
	p.items.WithLabelValues(task).Add(float64(items))
	failures := p.failed.WithLabelValues(task)
	if err != nil {
		failures.Inc()
		return
	}
	p.last.WithLabelValues(task).SetToCurrentTime()
}
