package people

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/meta"
)

// readings are the metrics of a Refresher. The zero value has none.
type readings struct {
	read, failed *prometheus.CounterVec
	oldest       prometheus.Gauge
}

// WithMetrics counts in reg what is read, and what is not.
func (r *Refresher) WithMetrics(reg prometheus.Registerer) *Refresher {
	r.readings = readings{
		read: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_people_read_total",
			Help: "People whom an identity provider was asked about again, without a login, by its kind and whether it knew the person (known, gone).",
		}, []string{"kind", "outcome"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_people_read_errors_total",
			Help: "Identity providers of the kind that could not be asked; their people are read again 15 s later, and keep their groups for directory_grace.",
		}, []string{"kind"}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "berth_people_oldest_due_seconds",
			Help: "How long the person has been due who has waited longest to be read again, as the process saw it that reads; 0 where none is due. Take the maximum.",
		}),
	}
	reg.MustRegister(r.read, r.failed, r.oldest)
	return r
}

// due notes who has waited longest: the first.
func (m readings) due(people []meta.Person, now time.Time) {
	if m.oldest == nil {
		return
	}
	waited := time.Duration(0)
	if len(people) > 0 {
		waited = max(0, now.Sub(people[0].DueAt))
	}
	m.oldest.Set(waited.Seconds())
}

func (m readings) answered(kind, outcome string) {
	if m.read != nil {
		m.read.WithLabelValues(kind, outcome).Inc()
	}
}

func (m readings) outage(kind string) {
	if m.failed != nil {
		m.failed.WithLabelValues(kind).Inc()
	}
}
