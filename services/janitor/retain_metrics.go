package janitor

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/meta"
)

// retainMetrics are those of the runs of retention policies in this process.
type retainMetrics struct {
	repositories, refused, failed prometheus.Counter
	runs, deleted                 *prometheus.CounterVec
}

func newRetainMetrics(reg prometheus.Registerer) *retainMetrics {
	m := &retainMetrics{
		repositories: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_retention_repositories_total",
			Help: "Repositories that were evaluated by a retention policy.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_retention_refused_total",
			Help: "Deletions that a retention policy decided on and that were not done, since what they were decided by had changed.",
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_retention_errors_total",
			Help: "Times that a run of a retention policy could not continue, such as in an outage of the database; each is tried again.",
		}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_retention_runs_total",
			Help: "Runs of retention policies that ended, by their mode.",
		}, []string{"mode"}),
		deleted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_retention_deleted_total",
			Help: "Tags and manifests that retention policies deleted.",
		}, []string{"kind"}),
	}
	for _, enforced := range []bool{false, true} {
		m.runs.WithLabelValues(modeOf(enforced))
	}
	for _, kind := range []string{"tag", "manifest"} {
		m.deleted.WithLabelValues(kind)
	}
	if reg != nil {
		reg.MustRegister(m.repositories, m.refused, m.failed, m.runs, m.deleted)
	}
	return m
}

func (m *retainMetrics) ran(p meta.RetentionPolicy) {
	m.runs.WithLabelValues(modeOf(p.Run.Enforced)).Inc()
}

func modeOf(enforced bool) string {
	if enforced {
		return "enforce"
	}
	return "observe"
}
