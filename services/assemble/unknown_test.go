package assemble

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/services/janitor"
)

// storesIn opens the stores of a data directory. They are closed with the test.
func storesIn(t *testing.T, dir string) (*sqlitemeta.Store, *fsblob.Store) {
	t.Helper()
	m, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	blobs, err := fsblob.Open(filepath.Join(dir, "blobs"), fsblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = blobs.Close() })
	return m, blobs
}

// That objects are not removed because they are too many is seen in the metrics
// and in the readiness of a process, which serves anyway.
func TestH7_UnknownObjectsAreTold(t *testing.T) {
	dir := t.TempDir()
	m, blobs := storesIn(t, dir)
	stray := filepath.Join(dir, "blobs", "o", "1", "e4", "4e74db8a-61d7-40c1-8ed0-790f1d1e36e4")
	then := time.Now().Add(-48 * time.Hour)
	for _, err := range []error{os.MkdirAll(filepath.Dir(stray), 0o750), os.WriteFile(stray, nil, 0o600), os.Chtimes(stray, then, then)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	j := janitor.New(janitor.Config{Meta: m, Blobs: blobs, Log: slog.New(slog.DiscardHandler)})
	told := prometheus.NewPedanticRegistry()
	told.MustRegister(unknownObjects(j)...)
	var health boot.Health
	health.AddOptional(unknownCheck, func(context.Context) error { return j.Refusal() })

	if r := health.Ready(t.Context()); r.Checks[unknownCheck].Status != "ok" {
		t.Errorf("before the first run: %+v", r)
	}
	if err := j.Reconcile(t.Context()); err == nil {
		t.Error("the one object of a store was condemned")
	}
	if r := health.Ready(t.Context()); r.Status != "ready" || !strings.Contains(r.Checks[unknownCheck].Error, "condemn_unknown") {
		t.Errorf("readiness %+v", r)
	}
	families, err := told.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	if len(got) != 2 || got["berth_unknown_objects"] != 1 || got["berth_unknown_objects_refused"] != 1 {
		t.Errorf("metrics %v", got)
	}
}
