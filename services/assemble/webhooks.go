package assemble

import (
	"context"

	"github.com/berth-registry/berth/services/internal/webhooks"
)

// webhooks builds what tells servers of tenants of events. They are connected to as upstreams are.
func (b builder) webhooks() {
	s := webhooks.New(webhooks.Config{
		Meta: b.stores.meta, Secrets: b.secrets, Transport: b.toIssuers.Transport, Log: b.Log, Metrics: b.Metrics,
	})
	b.Go("webhooks", func(ctx context.Context) error { s.Run(ctx); return nil })
}
