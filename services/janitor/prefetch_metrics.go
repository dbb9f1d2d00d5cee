package janitor

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/meta"
)

// prefetchMetrics are those of the runs of prefetches in this process.
type prefetchMetrics struct {
	runs       prometheus.Counter
	references *prometheus.CounterVec
	bytes      prometheus.Counter
}

func newPrefetchMetrics(reg prometheus.Registerer) *prefetchMetrics {
	m := &prefetchMetrics{
		runs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_prefetch_runs_total",
			Help: "Runs of prefetches that have ended.",
		}),
		references: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_prefetch_references_total",
			Help: "Attempts to fetch references for prefetches, by what followed: done, failed, or pending to be tried again.",
		}, []string{"state"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_prefetch_bytes_total",
			Help: "Bytes of blobs that were fetched for prefetches.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.runs, m.references, m.bytes)
	}
	return m
}

func (m *prefetchMetrics) observe(r meta.PrefetchResult) {
	m.references.WithLabelValues(string(r.State)).Inc()
	m.bytes.Add(float64(r.Bytes))
}
