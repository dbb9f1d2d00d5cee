package front_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// Calls of one tenant that do not end are in no other's way, wait for one another,
// and are forgotten when their clients leave.
func TestS53_CallsOfATenantLeaveOthersTheirShare(t *testing.T) {
	d := openDeployment(t)
	d.Calls = front.NewCallLimit(16)
	const most = 12 // a quarter is kept
	var inside atomic.Int64
	end := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if front.CallOf(r.Context()).Site.TenantSlug == "acme" {
			inside.Add(1)
			<-end
		}
		reached(w, r)
	})
	d.Serve(front.Services{Registry: h, Upload: h, Token: h})

	var calls sync.WaitGroup
	var answered, left atomic.Int64
	ctx, leave := context.WithCancel(t.Context())
	for i := range 40 {
		calls.Go(func() {
			its := t.Context()
			if i%2 == 0 {
				its = ctx
			}
			if r, err := http.NewRequestWithContext(its, http.MethodGet, d.Server.URL+"/v2/app/tags/list", nil); err != nil {
				t.Error(err)
			} else {
				r.Host = "acme.localhost"
				if resp, err := http.DefaultClient.Do(r); err != nil {
					left.Add(1)
				} else if resp.StatusCode == http.StatusOK {
					answered.Add(1)
					_ = resp.Body.Close()
				}
			}
		})
	}
	await.True(t, 30*time.Second, "the others wait", func() bool { return d.Calls.Stats().Waiting >= 40-most })
	if n := inside.Load(); n > most {
		t.Errorf("%d calls of a tenant at a time", n)
	}
	for range 10 {
		if resp := d.Do(fronttest.Request{Host: "other.localhost", Path: "/v2/app/tags/list"}); resp.Status != http.StatusOK {
			t.Errorf("a call of another tenant: %d", resp.Status)
		}
	}
	leave()
	await.True(t, 30*time.Second, "half of the clients have left", func() bool { return left.Load() >= 20 })
	close(end)
	calls.Wait()
	if answered.Load() != 20 {
		t.Errorf("%d of the 20 that stayed were answered", answered.Load())
	}
	await.True(t, 30*time.Second, "every place is given back", func() bool { return d.Calls.Used() == 0 })
}
