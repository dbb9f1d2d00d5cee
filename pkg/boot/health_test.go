package boot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/faketime"
)

func readyz(t *testing.T, h *Health) (int, Readiness) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	var r Readiness
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return w.Code, r
}

func TestReadyAsksEveryDependency(t *testing.T) {
	var h Health
	var down error
	h.Add("meta", func(context.Context) error { return nil })
	h.Add("blobs", func(context.Context) error { return down })

	if code, r := readyz(t, &h); code != 200 || r.Status != "ready" || r.Checks["meta"].Status != "ok" || r.Checks["blobs"].Status != "ok" {
		t.Errorf("all work: %d %+v", code, r)
	}
	down = errors.New("disk gone")
	if code, r := readyz(t, &h); code != 503 || r.Status != "unready" || r.Checks["meta"].Status != "ok" || r.Checks["blobs"].Error != "disk gone" {
		t.Errorf("one fails: %d %+v", code, r)
	}
	down = nil
	h.AddOptional("redis", func(context.Context) error { return errors.New("cache gone") })
	if code, r := readyz(t, &h); code != 200 || r.Status != "ready" || r.Checks["redis"].Error != "cache gone" {
		t.Errorf("an optional one fails: %d %+v", code, r)
	}
	h.Drain()
	if code, r := readyz(t, &h); code != 503 || r.Status != "draining" {
		t.Errorf("draining: %d %+v", code, r)
	}
}

func TestHangingCheckNeitherBlocksNorPilesUp(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var h Health
		release, calls := make(chan struct{}), make(chan struct{}, 10)
		h.Add("stuck", func(context.Context) error {
			calls <- struct{}{}
			<-release // ignores its context
			return nil
		})
		defer close(release)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r := h.Ready(ctx); r.Checks["stuck"].Status != "failed" {
			t.Errorf("got %+v", r)
		}
		began := time.Now()
		for range 3 {
			if _, r := readyz(t, &h); r.Checks["stuck"].Error != errCheckTimeout.Error() {
				t.Errorf("got %+v", r)
			}
		}
		if took := time.Since(began); took > checkTimeout {
			t.Errorf("three probes of one hanging check took %v", took)
		}
		<-calls
		if len(calls) > 0 {
			t.Error("the check was started again before it came back")
		}
	})
}

// Several who probe at once get one answer, and it is the true one.
func TestProbesAtOnceShareOneAnswer(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var h Health
		h.Add("meta", func(ctx context.Context) error {
			select {
			case <-time.After(checkTimeout / 4):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		gone, leave := context.WithCancel(t.Context())
		var probes sync.WaitGroup
		probes.Go(func() { _ = h.Ready(gone) }) // begins the run and leaves
		synctest.Wait()
		leave()
		for range 10 {
			probes.Go(func() {
				if r := h.Ready(t.Context()); r.Status != "ready" {
					t.Errorf("got %+v", r)
				}
			})
		}
		probes.Wait()
	})
}

func TestOpsHandler(t *testing.T) {
	h := opsHandler(newMetrics(), &Health{}, web.NewHosts("example.com", nil)) // the host of httptest
	for path, want := range map[string]string{
		"/healthz": "ok\n", "/readyz": `{"status":"ready","checks":{}}`, "/metrics": "berth_build_info{",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %.200s", path, w.Code, w.Body)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/debug/pprof/", nil))
	if w.Code != 404 {
		t.Errorf("/debug/pprof/: %d", w.Code)
	}
}

// K3: a check may say how things are, and that something is short.
func TestK3_DetailIsShown(t *testing.T) {
	var h Health
	var full error
	h.AddDetailed("disk", func(context.Context) (string, error) { return "1 GiB free", full })
	if r := h.Ready(t.Context()); r.Status != "ready" || r.Checks["disk"].Detail != "1 GiB free" || r.Checks["disk"].Status != "ok" {
		t.Errorf("%+v", r)
	}
	full = errors.New("full")
	if r := h.Ready(t.Context()); r.Status != "ready" || r.Checks["disk"].Detail != "1 GiB free" || r.Checks["disk"].Error != "full" {
		t.Errorf("%+v", r)
	}
}
