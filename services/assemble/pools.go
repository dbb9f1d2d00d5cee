package assemble

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/fairgate"
)

var (
	poolWaitsDesc = prometheus.NewDesc("berth_pool_waits_total",
		"Requests that had to wait for a share of what tenants share, by what that is.", []string{"pool"}, nil)
	poolWaitedDesc = prometheus.NewDesc("berth_pool_wait_seconds_total",
		"How long they waited, together.", []string{"pool"}, nil)
	poolRefusedDesc = prometheus.NewDesc("berth_pool_refusals_total",
		"How many of them got nothing: it took too long, too many waited, or their client went away.", []string{"pool"}, nil)
)

// pools tells Prometheus of what tenants share, by name.
type pools map[string]func() fairgate.Stats

// pools are those of this process.
func (b builder) pools() pools {
	p := pools{"calls": b.callGate.Stats}
	if b.fetches != nil {
		p["fetches"], p["upstream_documents"] = b.fetches.Slots, b.clients.Large
	}
	if s3, ok := b.stores.blobs.(*s3blob.Store); ok {
		p["s3_sends"] = s3.Sends
	}
	return p
}

// Describe implements prometheus.Collector.
func (pools) Describe(to chan<- *prometheus.Desc) {
	to <- poolWaitsDesc
	to <- poolWaitedDesc
	to <- poolRefusedDesc
}

// Collect implements prometheus.Collector.
func (p pools) Collect(to chan<- prometheus.Metric) {
	for name, read := range p {
		s := read()
		to <- prometheus.MustNewConstMetric(poolWaitsDesc, prometheus.CounterValue, float64(s.Waits), name)
		to <- prometheus.MustNewConstMetric(poolWaitedDesc, prometheus.CounterValue, s.Waited.Seconds(), name)
		to <- prometheus.MustNewConstMetric(poolRefusedDesc, prometheus.CounterValue, float64(s.Refused), name)
	}
}
