package assemble

import (
	"context"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/services/internal/cacheroom"
)

// reportRoom shows how much of its room the cache takes. A full cache does not make the
// process unready: what it has no room for is passed through.
func (b builder) reportRoom() {
	b.Health.AddDetailed("cache", b.room.Check)
	of := func(part func(cacheroom.Level) int64) func() float64 {
		return func() float64 {
			l, err := b.room.Recent(context.Background())
			if err != nil {
				return -1
			}
			return float64(part(l))
		}
	}
	b.Metrics.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_cache_bytes",
			Help: "Bytes that the cached content of all tenants takes, with what its rows cost. Every process of a deployment has about the same number: take the maximum.",
		}, of(func(l cacheroom.Level) int64 { return l.Cached + l.Staged })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_cache_evicted_bytes",
			Help: "Bytes of evicted content that are not deleted from the blob store yet. They count against the bound.",
		}, of(func(l cacheroom.Level) int64 { return l.Evicted })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_cache_bound_bytes",
			Help: "Most that cached content may take: cache_max, or a share of the disk, which falls as content is evicted for pushes; +Inf without a bound.",
		}, func() float64 {
			l, err := b.room.Recent(context.Background())
			switch {
			case err != nil:
				return -1
			case l.Bound == math.MaxInt64:
				return math.Inf(1)
			}
			return float64(l.Bound)
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "berth_cache_refused_total",
			Help: "Blobs that this process passed through and did not store because the cache had no room.",
		}, func() float64 { return float64(b.room.Counts().Refused) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "berth_cache_refused_bytes_total",
			Help: "Bytes of these blobs.",
		}, func() float64 { return float64(b.room.Counts().Bytes) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "berth_cache_direct_total",
			Help: "Blobs that this process passed through without a temporary file because the disk was full. Each client asks the upstream for itself then.",
		}, func() float64 {
			if b.fetches == nil {
				return 0
			}
			return float64(b.fetches.Direct())
		}),
	)
}
