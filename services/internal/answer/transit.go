package answer

import (
	"context"
	"net/http"
	"time"

	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
)

// A manifest, or a page of a list, is in memory until a client has sent or
// taken it, and a slow client takes its time for one of 4 MiB (contract row A7).
// These bound how much all of them hold together. What is small is not counted:
// connections bound it already.
const (
	maxTransit        = 128 << 20 // bytes of all tenants
	maxTenantTransit  = 32 << 20  // bytes of one, so that it does not crowd the others out
	assuredTransit    = 8 << 20   // bytes that each tenant may hold whatever the others do,
	maxAssuredTransit = 64 << 20  // while these shares go no further beyond maxTransit
	smallTransit      = 16 << 10
)

// transitTime is how long the body of a manifest waits for room before it is refused.
const transitTime = 10 * time.Second

// Transit counts the bytes that are on their way in a service.
type Transit struct{ gate *fairgate.Gate[tenant.ID] }

// NewTransit makes a Transit in which nothing is on its way.
func NewTransit() *Transit {
	return &Transit{fairgate.New[tenant.ID](fairgate.Options{
		Capacity: maxTransit, Most: maxTenantTransit,
		Assured: assuredTransit, Beyond: maxAssuredTransit, MaxWaiting: 1024,
	})}
}

// Enter counts n bytes until leave is called. Beyond the bounds it is
// fault.TooManyRequests.
func (t *Transit) Enter(id tenant.ID, n int64) (func(), error) {
	if n <= smallTransit {
		return func() {}, nil
	}
	if !t.gate.TryAcquire(id, n) {
		return nil, crowded(nil)
	}
	return func() { t.gate.Release(id, n) }, nil
}

func (t *Transit) hold(ctx context.Context, id tenant.ID, n int64) error {
	if t.gate.TryAcquire(id, n) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, transitTime)
	defer cancel()
	if err := t.gate.Acquire(ctx, id, n); err != nil {
		return crowded(err)
	}
	return nil
}

func crowded(cause error) error {
	return fault.Wrap(cause, fault.TooMany, fault.TooManyRequests, "too many large manifests in flight; retry later").
		WithRetryAfter(time.Second)
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
