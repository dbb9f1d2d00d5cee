package assemble

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/audit"
)

// keepForSink makes events wait for the sink of the configuration.
func keepForSink(ctx context.Context, c boot.Config, store meta.EventSinks) error {
	if c.AuditSink.IsZero() {
		return nil
	}
	return audit.Keep(ctx, store)
}

// openAuditSink opens the sink of the configuration, which is at no metadata server, as
// upstreams are not.
func openAuditSink(c boot.Config) (audit.Sink, error) {
	return audit.OpenSink(c.AuditSink.Reveal(), c.AuditSinkToken.Reveal(), upstream.IsMetadata)
}

// auditSink sends the audit log, and pulls, where the configuration says.
func (b *builder) auditSink() error {
	if b.config.AuditSink.IsZero() {
		return nil
	}
	sink, err := openAuditSink(b.config)
	if err != nil {
		return err
	}
	d := audit.NewDeliverer(b.stores.meta, sink, b.shared.leases, b.Log)
	b.Go("audit sink", func(ctx context.Context) error { d.Run(ctx); return nil })
	b.Metrics.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_audit_sink_lag_seconds",
			Help: "How long the oldest event has been waiting for audit_sink.",
		}, func() float64 { return d.Lag().Seconds() }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "berth_audit_sink_events_total",
			Help: "Events that this process has sent to audit_sink.",
		}, func() float64 { return float64(d.Sent()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "berth_audit_sink_failures_total",
			Help: "Attempts of this process to send events that failed. The events wait in the database.",
		}, func() float64 { return float64(d.Failed()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "berth_audit_sink_given_up_total",
			Help: "Events that audit_sink refused again and again while it took others. They are in the log of this process and in the database.",
		}, func() float64 { return float64(d.GivenUp()) }),
	)
	if b.config.AuditPulls {
		b.pulls = audit.NewPulls(sink, b.Log)
		b.Go("audit pulls", func(ctx context.Context) error { b.pulls.Run(ctx); return nil })
		b.Metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "berth_audit_pulls_dropped_total",
			Help: "Pulls that audit_sink was not told of, since it did not take them in time.",
		}, func() float64 { return float64(b.pulls.Dropped()) }))
	}
	return nil
}
