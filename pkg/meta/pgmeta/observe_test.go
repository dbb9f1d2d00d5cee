package pgmeta

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

func TestTracesNameStatementsOnly(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	s, r := filled(t, Options{Traces: provider})
	if got := spans.GetSpans(); len(got) != 0 {
		t.Fatalf("%d spans of what no one traces", len(got))
	}
	ctx, request := provider.Tracer("test").Start(t.Context(), "request")
	if _, err := s.FindManifest(ctx, r, oci.Reference{Tag: "v1"}); err != nil {
		t.Fatal(err)
	}
	if err := s.PutManifest(ctx, imagePut(r, "config", "secret-tag")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.FindTenant(ctx, "secret\x00tag"); fault.KindOf(err) != fault.Invalid {
		t.Fatal(err)
	}
	request.End()
	var names []string
	for _, span := range spans.GetSpans() {
		names = append(names, span.Name)
		for _, e := range span.Events {
			names = append(names, e.Name)
		}
		if text := fmt.Sprintf("%+v", span); strings.Contains(text, "secret") || strings.Contains(text, r.Name+"'") {
			t.Errorf("a span holds a value: %s", text)
		}
	}
	for _, want := range []string{"SELECT repositories", "BATCH", "BEGIN", "INSERT events", "INSERT tags", "INSERT manifests", "UPDATE tags", "COMMIT", "SELECT tenants"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %q in %q", want, names)
		}
	}
}

func TestCollectorTellsOfThePool(t *testing.T) {
	s, _ := filled(t, Options{MaxConns: 7})
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s.Collector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	if len(got) != 6 || got["berth_meta_connections_max"] != 7 || got["berth_meta_connections"] < 1 || got["berth_meta_connects_total"] < 1 {
		t.Errorf("%v", got)
	}
}
