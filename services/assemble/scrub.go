package assemble

import (
	"context"

	"github.com/berth-registry/berth/services/janitor"
)

// scrub builds what compares stored objects with their blobs.
func (b builder) scrub() {
	c := janitor.ScrubConfig{
		Meta: b.stores.meta, Blobs: b.stores.blobs, Log: b.Log, Leases: b.shared.leases, Metrics: b.Metrics, Guard: b.stores.compare,
		Rate: int64(b.config.ScrubRate), Interval: b.config.ScrubInterval,
	}
	if b.proxy != nil {
		c.Fetch = b.proxy.FetchBlob
	}
	s := janitor.NewScrubber(c)
	b.Go("scrub", func(ctx context.Context) error { s.Run(ctx); return nil })
}
