package assemble

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/fault"
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
