package assemble

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/blob"
)

// reportSpace shows how much room the blobs have, where they have an end. A full disk
// does not make the process unready: pulls and deletions go on.
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
