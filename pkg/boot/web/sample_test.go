package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/berth-registry/berth/pkg/boot/logs"
)

// Of a storm of refusals from one address a bounded number is in the log, and of failures, with
// a count of the rest; those of others and what is served are all there.
func TestS7_RefusalsAreSampled(t *testing.T) {
	t.Parallel()
	var log lines
	m, _ := newMiddleware(&log)
	o := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusOK
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.WriteHeader(status)
	})).(observer)
	send := func(client string, status int) {
		r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/%d", status), nil)
		r.RemoteAddr = client + ":1"
		o.ServeHTTP(httptest.NewRecorder(), r)
	}
	for range logs.SampledLines {
		for _, status := range []int{200, 401, 404, 429, 503} {
			send("192.0.2.1", status)
		}
	}
	send("192.0.2.2", 404)
	by := map[string]int{}
	for _, line := range log.with(t, "request") {
		by[fmt.Sprint(line["client"], " ", line["status"].(float64) >= 400)]++
	}
	for key, want := range map[string]int{"192.0.2.1 true": logs.SampledLines, "192.0.2.1 false": logs.SampledLines, "192.0.2.2 true": 1} {
		if by[key] != want {
			t.Errorf("%s: %d lines, want %d", key, by[key], want)
		}
	}
	o.refusals.lines.End()
	left := log.with(t, "more requests were refused than the log tells of")
	if len(left) != 1 || left[0]["left_out"] != float64(3*logs.SampledLines) || left[0]["client"] != "192.0.2.1" {
		t.Errorf("got %v", left)
	}
	send("192.0.2.1", 404)
	if n := len(log.with(t, "request")); n != 2*logs.SampledLines+2 {
		t.Errorf("another period has no line: %d", n)
	}
}
