package respond

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
	maxBudget        = 128 << 20 // bytes of all tenants
	maxTenantBudget  = 32 << 20  // bytes of one, so that it does not crowd the others out
	assuredBudget    = 8 << 20   // bytes that each tenant may hold whatever the others do,
	maxAssuredBudget = 64 << 20  // while these shares go no further beyond maxBudget
	uncounted        = 16 << 10
)

// budgetTimeout is how long the body of a manifest waits for room before it is refused.
const budgetTimeout = 10 * time.Second

// ByteBudget bounds the bytes of manifests and lists that a service holds in memory.
type ByteBudget struct{ gate *fairgate.Gate[tenant.ID] }

// NewByteBudget makes a ByteBudget that holds nothing.
func NewByteBudget() *ByteBudget {
	return &ByteBudget{fairgate.New[tenant.ID](fairgate.Options{
		Capacity: maxBudget, Most: maxTenantBudget,
		Assured: assuredBudget, Beyond: maxAssuredBudget, MaxWaiting: 1024,
	})}
}

// Acquire counts n bytes until the returned release is called. Beyond the bounds it
// is fault.TooManyRequests.
func (t *ByteBudget) Acquire(id tenant.ID, n int64) (func(), error) {
	if n <= uncounted {
		return func() {}, nil
	}
	if !t.gate.TryAcquire(id, n) {
		return nil, busy(nil)
	}
	return func() { t.gate.Release(id, n) }, nil
}

func (t *ByteBudget) wait(ctx context.Context, id tenant.ID, n int64) error {
	if err := t.gate.AcquireWithin(ctx, id, n, budgetTimeout); err != nil {
		return busy(err)
	}
	return nil
}

func busy(cause error) error {
	return fault.Wrap(cause, fault.TooMany, fault.TooManyRequests, "too many large manifests in flight; retry later").
		WithRetryAfter(time.Second)
}

// Limited bounds what enc sends of answers of that size.
func Limited[Resp any](t *ByteBudget, size func(Resp) int64, enc func(context.Context, http.ResponseWriter, Resp) error) func(context.Context, http.ResponseWriter, Resp) error {
	return func(ctx context.Context, w http.ResponseWriter, resp Resp) error {
		leave, err := t.Acquire(front.CallOf(ctx).Site.Tenant, size(resp))
		if err != nil {
			return err
		}
		defer leave()
		return enc(ctx, w, resp)
	}
}
