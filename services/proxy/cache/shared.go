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

// fetchTimeout bounds what is fetched for many, which does not end with the
// request that asked first. A blob has its own bounds.
const fetchTimeout = 90 * time.Second

// work names the fetching of something. Requests that came through other
// registries are distinguished by how many: one that a chain led back here would
// else wait for the one that it is part of (contract row E12).
func (r *Repository) work(what string) string { return fmt.Sprintf("%d %s", r.hops, r.key(what)) }

// singleFlight runs f once for all concurrent callers in this process that ask for
// the same. A caller that leaves does not end it.
func singleFlight[T any](ctx context.Context, r *Repository, what string, f func(ctx context.Context) (T, error)) (T, error) {
	shared := context.WithoutCancel(ctx)
	done := r.caches.flights.DoChan(r.work(what), func() (any, error) {
		ctx, cancel := context.WithTimeout(shared, fetchTimeout)
		defer cancel()
		v, err := f(ctx)
		r.caches.statuses.add(r.Upstream, r.client)
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

// How long a process waits for what another fetches. That one may have died with
// its lease, or leases may not be granted at all: so both ask an upstream that is
// that slow.
const (
	otherNodeTimeout = 3 * time.Second
	pollInterval     = 50 * time.Millisecond
)

// acrossNodes is singleFlight across processes: while another one fetches the
// same, cached is polled. cached returns errUnknown where it has no answer.
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
