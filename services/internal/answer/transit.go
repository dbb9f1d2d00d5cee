package answer

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
)

// A manifest, or a page of a list, is in memory until a client has sent or
// taken it, and a slow client takes minutes for one of 4 MiB (contract row A7).
// These bound how much all of them hold together. What is small is not
// counted: connections bound it already.
const (
	maxTransit       = 128 << 20 // bytes of all tenants
	maxTenantTransit = 32 << 20  // bytes of one, so that none crowds the others out
	smallTransit     = 16 << 10
)

// Transit counts the bytes that are on their way in a service.
type Transit struct {
	mu      sync.Mutex
	total   int64
	tenants map[tenant.ID]int64
}

// NewTransit makes a Transit in which nothing is on its way.
func NewTransit() *Transit { return &Transit{tenants: map[tenant.ID]int64{}} }

// Enter counts n bytes until leave is called. Beyond the bounds it is
// fault.TooManyRequests: they are reached by slow clients only.
func (t *Transit) Enter(id tenant.ID, n int64) (func(), error) {
	if n <= smallTransit {
		return func() {}, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.total+n > maxTransit || t.tenants[id]+n > maxTenantTransit {
		return nil, fault.New(fault.TooMany, fault.TooManyRequests, "too many large manifests are on their way, try again later").
			WithRetryAfter(time.Second)
	}
	t.add(id, n)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.add(id, -n)
	}, nil
}

func (t *Transit) add(id tenant.ID, n int64) {
	t.total += n
	if t.tenants[id] += n; t.tenants[id] == 0 {
		delete(t.tenants, id)
	}
}

// Sending bounds what enc sends of answers of that size.
func Sending[Resp any](t *Transit, size func(Resp) int64, enc func(context.Context, http.ResponseWriter, Resp) error) func(context.Context, http.ResponseWriter, Resp) error {
	return func(ctx context.Context, w http.ResponseWriter, resp Resp) error {
		leave, err := t.Enter(front.CallOf(ctx).Site.Tenant, size(resp))
		if err != nil {
			return err
		}
		defer leave()
		return enc(ctx, w, resp)
	}
}

// ReceivedSize is the most that reading a manifest of that length takes; -1 is
// a length that is not announced.
func ReceivedSize(length int64) int64 {
	if length < 0 {
		return oci.MaxManifest
	}
	return min(length, oci.MaxManifest)
}
