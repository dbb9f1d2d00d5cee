package assemble

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/services/janitor"
)

// unknownCheck is the name of the reconciliation's refusal in /readyz. It says
// something to operators, and the process serves all the same.
const unknownCheck = "unknown_objects"

// unknownObjects are the metrics of the janitor's last reconciliation.
func unknownObjects(j *janitor.Janitor) []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_unknown_objects",
			Help: "Objects of the blob store that no row knew, at this process's last reconciliation.",
		}, func() float64 { return float64(j.Survey().Unknown) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_unknown_objects_refused",
			Help: "1 when they were too many to be removed without an operator's word (condemn_unknown), else 0.",
		}, func() float64 {
			if j.Survey().Refused {
				return 1
			}
			return 0
		}),
	}
}
