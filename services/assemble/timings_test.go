package assemble

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestS18_ACancelledCallOfTheStoreIsNoFailure is for the metric by which operators are
// told of failures.
func TestS18_ACancelledCallOfTheStoreIsNoFailure(t *testing.T) {
	stores, reg := newTimings(), prometheus.NewRegistry()
	reg.MustRegister(stores.collectors()...)
	for _, err := range []error{nil, fmt.Errorf("commit: %w", context.Canceled), errors.New("broken")} {
		stores.observeMeta("read", time.Millisecond, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, m := range families[0].GetMetric() {
		got += m.GetLabel()[1].GetValue() + " "
	}
	if got != "cancelled internal ok " {
		t.Errorf("outcomes %s", got)
	}
}
