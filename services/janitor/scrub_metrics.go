package janitor

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/meta"
)

// scrubMetrics are those of the scrubs of this process, and what all found damaged.
type scrubMetrics struct {
	objects, bytes, repaired, failed prometheus.Counter
	found                            *prometheus.CounterVec
	damaged                          *prometheus.GaugeVec
}

func newScrubMetrics(reg prometheus.Registerer) *scrubMetrics {
	m := &scrubMetrics{
		objects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_scrub_objects_total",
			Help: "Live objects that the scrub examined.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_scrub_read_bytes_total",
			Help: "Bytes that the scrub read, within scrub_rate.",
		}),
		repaired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_scrub_repaired_total",
			Help: "Damaged blobs that the scrub had an upstream give again.",
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_scrub_errors_total",
			Help: "Times that the scrub could not continue, such as in an outage of the blob store; each is tried again.",
		}),
		found: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_scrub_found_total",
			Help: "Blobs that were found lost or rotten, each once.",
		}, []string{"damage"}),
		damaged: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "berth_damaged_blobs",
			Help: "Blobs that are lost or rotten and that no push or pull has repaired. Every janitor of a deployment has the same number: take the maximum.",
		}, []string{"damage"}),
	}
	for _, damage := range []meta.Damage{meta.Lost, meta.Rotten} {
		m.found.WithLabelValues(string(damage))
		m.damaged.WithLabelValues(string(damage))
	}
	if reg != nil {
		reg.MustRegister(m.objects, m.bytes, m.repaired, m.failed, m.found, m.damaged)
	}
	return m
}

func (m *scrubMetrics) setDamaged(n map[meta.Damage]int64) {
	for damage, count := range n {
		m.damaged.WithLabelValues(string(damage)).Set(float64(count))
	}
}
