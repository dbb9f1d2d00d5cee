package pgmeta

import "github.com/prometheus/client_golang/prometheus"

var (
	connectionsDesc = prometheus.NewDesc("berth_meta_connections",
		"Connections to the metadata store, by what they do: acquired, idle, or being made.", []string{"state"}, nil)
	maxConnectionsDesc = prometheus.NewDesc("berth_meta_connections_max",
		"How many connections to the metadata store this process may have.", nil, nil)
	connectsDesc = prometheus.NewDesc("berth_meta_connects_total",
		"Connections to the metadata store that were made.", nil, nil)
	waitsDesc = prometheus.NewDesc("berth_meta_connection_waits_total",
		"Transactions and reads that had to wait for a connection, because all were in use or their tenant had its share.", nil, nil)
	waitedDesc = prometheus.NewDesc("berth_meta_connection_wait_seconds_total",
		"How long they waited, together.", nil, nil)
	refusedDesc = prometheus.NewDesc("berth_meta_connection_refusals_total",
		"How many of them were refused: all were in use for too long, too many waited, their client went away, or the server failed.", nil, nil)
)

// poolCollector reads the pool when it is asked, so that it costs nothing
// between.
type poolCollector struct{ store *Store }

// Waiting is how many transactions and reads wait for a connection now.
func (s *Store) Waiting() int { return s.connGate.Stats().Waiting }

// Collector tells Prometheus how the store's connections are used.
func (s *Store) Collector() prometheus.Collector { return poolCollector{s} }

// Describe implements prometheus.Collector.
func (c poolCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectionsDesc, maxConnectionsDesc, connectsDesc, waitsDesc, waitedDesc, refusedDesc} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c poolCollector) Collect(to chan<- prometheus.Metric) {
	pool, waits := c.store.pool.Stat(), c.store.connGate.Stats()
	gauge := func(d *prometheus.Desc, n int32, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	counter := func(d *prometheus.Desc, n float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, n)
	}
	gauge(connectionsDesc, pool.AcquiredConns(), "acquired")
	gauge(connectionsDesc, pool.IdleConns(), "idle")
	gauge(connectionsDesc, pool.ConstructingConns(), "constructing")
	gauge(maxConnectionsDesc, pool.MaxConns())
	counter(connectsDesc, float64(pool.NewConnsCount()))
	counter(waitsDesc, float64(waits.Waits))
	counter(waitedDesc, waits.Waited.Seconds())
	counter(refusedDesc, float64(waits.Refused))
}
