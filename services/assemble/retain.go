package assemble

import (
	"context"

	"github.com/berth-registry/berth/services/janitor"
)

// retain builds what runs retention policies.
func (b builder) retain() {
	if b.config.RetentionRate == 0 {
		return
	}
	r := janitor.NewRetainer(janitor.RetainConfig{
		Meta: b.stores.meta, Log: b.Log, Metrics: b.Metrics, Guard: b.stores.compare, Rate: b.config.RetentionRate,
	})
	b.Go("retention", func(ctx context.Context) error { r.Run(ctx); return nil })
}
