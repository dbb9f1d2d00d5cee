package assemble

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/services/janitor"
)

// timings are histograms of what the stores are asked.
type timings struct {
	meta *prometheus.HistogramVec
	s3   *prometheus.HistogramVec
}

func newTimings() timings {
	return timings{
		meta: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "berth_meta_call_seconds",
			Help:    "Time of one read or write of the metadata store, with the wait for a connection or its turn, by outcome (ok, cancelled by its caller, or the kind of fault).",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"call", "outcome"}),
		s3: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "berth_s3_request_seconds",
			Help:    "Time until the blob store answered one request, each try for itself, by the operation of S3 and the status; 0 where there was no answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120},
		}, []string{"operation", "status"}),
	}
}

func (t timings) collectors() []prometheus.Collector { return []prometheus.Collector{t.meta, t.s3} }

func (t timings) observeMeta(kind string, took time.Duration, err error) {
	outcome := "ok"
	switch {
	case errors.Is(err, context.Canceled): // the caller left
		outcome = "cancelled"
	case err != nil:
		outcome = fault.KindOf(err).String()
	}
	t.meta.WithLabelValues(kind, outcome).Observe(took.Seconds())
}

func (t timings) observeS3(operation string, took time.Duration, status int) {
	t.s3.WithLabelValues(operation, strconv.Itoa(status)).Observe(took.Seconds())
}

// queue is a metric of how many wait in a queue of this process.
func queue(name string, length func() int) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "berth_queue_length",
		Help:        "How many wait for their turn in a queue of this process.",
		ConstLabels: prometheus.Labels{"queue": name},
	}, func() float64 { return float64(length()) })
}

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

// reportSpace shows how much room the blobs have, where they have an end. A full disk
// does not make the process unready: pulls and deletions continue.
func (b builder) reportSpace() {
	m, ok := b.stores.blobs.(blob.Measurer)
	if !ok {
		return
	}
	b.Health.AddDetailed("disk", func(ctx context.Context) (string, error) {
		s, err := m.Space(ctx)
		if err != nil {
			return "", err
		}
		return s.String(), s.Check(0)
	})
	of := func(part func(blob.Space) int64) func() float64 {
		return func() float64 {
			s, err := m.Space(context.Background())
			if err != nil {
				return -1
			}
			return float64(part(s))
		}
	}
	b.Metrics.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_storage_free_bytes",
			Help: "Free bytes of the disk that holds the blobs.",
		}, of(func(s blob.Space) int64 { return s.Free })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_storage_size_bytes",
			Help: "Size of the disk that holds the blobs.",
		}, of(func(s blob.Space) int64 { return s.Size })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_storage_reserved_bytes",
			Help: "Free bytes of that disk below which uploads are refused (min_free).",
		}, of(func(s blob.Space) int64 { return s.Keep })),
	)
}

// unknownCheck is the name of the reconciliation's refusal in /readyz. It says
// something to operators, and the process serves anyway.
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
