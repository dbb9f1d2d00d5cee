package cache

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestM5_CacheAnswersHaveBoundedLabels makes more upstreams than have series.
func TestM5_CacheAnswersHaveBoundedLabels(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newAnswerMetrics(reg)
	for range 2 {
		for i := range 3 * maxHosts {
			m.answers.WithLabelValues(m.host(fmt.Sprintf("https://host%d.example:5000/prefix", i)), "manifest", Hit).Inc()
		}
	}
	if n := testutil.CollectAndCount(m.answers); n != maxHosts+1 {
		t.Errorf("%d series", n)
	}
	for label, want := range map[string]float64{"host0.example:5000": 2, "other": 4 * maxHosts} {
		if got := testutil.ToFloat64(m.answers.WithLabelValues(label, "manifest", Hit)); got != want {
			t.Errorf("%s: %v, want %v", label, got, want)
		}
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	if got := m.host("http://[::1]:5000"); strings.Contains(got, "/") {
		t.Errorf("got %q", got)
	}
}
