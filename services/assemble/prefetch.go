package assemble

import (
	"context"

	"github.com/berth-registry/berth/services/janitor"
)

// prefetch runs prefetches where upstreams are asked: they share its limits and its connections
// with pulls.
func (b builder) prefetch() {
	p := janitor.NewPrefetcher(janitor.PrefetchConfig{
		Meta: b.stores.meta, Log: b.Log, Metrics: b.Metrics, Guard: b.stores.compare,
		Fetch: b.proxy.Prefetch, Tags: b.proxy.PrefetchTags,
	})
	b.Go("prefetch", func(ctx context.Context) error { p.Run(ctx); return nil })
}
