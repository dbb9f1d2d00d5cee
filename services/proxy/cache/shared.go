package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/pause"
)

// fetchSteps bounds a shared fetch, which does not end with its first request: it takes at
// most as long as so many documents. Blobs have their own bounds.
const fetchSteps = 3

// work is the key of a fetch. It includes the hops: a request that a chain led back
// here must not wait for the fetch that it is part of (contract row E12).
func (r *Repository) work(what string) string { return fmt.Sprintf("%d %s", r.hops, r.key(what)) }

// singleFlight runs f once for all concurrent callers in this process with the same
// work. A leaving caller does not end it.
func singleFlight[T any](ctx context.Context, r *Repository, what string, f func(ctx context.Context) (T, error)) (T, error) {
	shared := context.WithoutCancel(ctx)
	done := r.caches.flights.DoChan(r.work(what), func() (any, error) {
		ctx, cancel := context.WithTimeout(shared, fetchSteps*r.client.Patience())
		defer cancel()
		v, err := f(r.withProof(ctx))
		r.asked()
		return v, err
	})
	var none T
	select {
	case <-ctx.Done():
		return none, chain.Internal(fault.From(ctx.Err()))
	case result := <-done:
		if result.Err != nil {
			return none, result.Err
		}
		return result.Val.(T), nil
	}
}

// How long a process waits for a fetch by another, which may have died with its
// lease. Leases may also be unavailable. After that both ask the upstream.
const (
	otherNodeTimeout = 3 * time.Second
	pollInterval     = 50 * time.Millisecond
)

// acrossNodes is singleFlight across processes: while another process fetches the
// same, it polls cached, which returns errUnknown for a miss.
func acrossNodes(ctx context.Context, r *Repository, what string, cached, fetch func(ctx context.Context) (Manifest, error)) (Manifest, error) {
	return singleFlight(ctx, r, what, func(ctx context.Context) (Manifest, error) {
		start := time.Now()
		key := lease.Key{Kind: "proxy", Tenant: r.Repo.Tenant, Name: r.work(what)}
		for {
			l, _, granted := r.caches.Leases.Acquire(ctx, key, "")
			if granted {
				defer l.Release()
			}
			m, err := cached(ctx)
			if !errors.Is(err, errUnknown) {
				return m, err
			}
			if granted || time.Since(start) > otherNodeTimeout {
				return fetch(ctx)
			}
			if pause.Between(ctx, pollInterval/2, 3*pollInterval/2) != nil {
				return Manifest{}, chain.Internal(fault.From(ctx.Err()))
			}
		}
	})
}
