package front_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/audit"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// refusalRows are refusals as the audit log has them.
type refusalRows map[meta.Refusal]int64

func (c refusalRows) RecordRefusals(_ context.Context, refusals map[meta.Refusal]int64) error {
	for r, n := range refusals {
		c[r] += n
	}
	return nil
}

// TestU84_DenialsAcrossTheHopAreCounted denies writes in the process that a call was
// forwarded to: there it is known who called, from where and by which client.
func TestU84_DenialsAcrossTheHopAreCounted(t *testing.T) {
	rows, log := refusalRows{}, slog.New(slog.DiscardHandler)
	refusals := audit.New(rows, log)
	denies := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		front.WriteError(w, r, fault.New(fault.Denied, fault.DeniedReason, "no"))
	})
	back := httptest.NewServer(web.Middleware{
		Listener: "internal", Log: log, Tracer: noop.NewTracerProvider().Tracer(""), Metrics: web.NewMetrics(prometheus.NewRegistry()), Scheme: "http",
	}.Wrap(front.NewInternal(access.NewInternal(deploymentKey), noPolicies, log, front.Services{Upload: denies}, nil, nil, refusals)))
	t.Cleanup(back.Close)
	h := hopTo(t, back.URL, 0)
	for range 30 {
		got := h.Do(fronttest.Request{
			Method: http.MethodPatch, Path: session, Host: "acme.localhost", Basic: "ci",
			Header: fronttest.Headers("X-Forwarded-For", "192.0.2.7", "User-Agent", "docker/28"),
		})
		if got.Status != http.StatusForbidden {
			t.Fatalf("%+v", got)
		}
	}
	refusals.Flush(t.Context())
	total := int64(0)
	for r, n := range rows {
		total += n
		if r.Tenant != h.private.Tenant || r.Actor != "serviceAccounts/ci" || r.Address != "192.0.2.7" || r.UserAgent != "docker/28" || r.Login {
			t.Errorf("%+v", r)
		}
	}
	if len(rows) > 2 || total != 30 { // two, where a minute begins meanwhile
		t.Errorf("%d rows count %d", len(rows), total)
	}
}
