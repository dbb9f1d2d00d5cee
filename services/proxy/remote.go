package proxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
)

// remote is a repository of an upstream, with what is kept of it.
type remote struct {
	*Service
	member   *chain.Member
	upstream *meta.Upstream
	client   *upstream.Client
	repo     meta.Repo // in the upstream's cache registry
	hops     int       // see Ask
}

// at finds the way to a repository of an upstream.
func (s *Service) at(m *chain.Member, a Ask, name string) (remote, error) {
	u := m.Upstream
	c := upstream.Config{
		Key:    fmt.Sprintf("%d/%d", u.Tenant, u.ID),
		Tenant: a.TenantSlug, Upstream: u.Slug,
		URL: u.Settings.URL, Username: u.Settings.Username, AuthHosts: u.Settings.AuthHosts,
	}
	if len(u.Settings.Password) > 0 {
		password, err := s.secrets.Open(u.Settings.Password, meta.PasswordOf(*u))
		if err != nil {
			return remote{}, ours(fault.Wrap(err, fault.Unavailable, fault.UnavailableReason,
				"the password of upstream %q cannot be opened with the secret_key of this deployment: give the password again, or set old_secret_key to the key before", u.Slug))
		}
		c.Password = password
	}
	client, err := s.clients.Client(c)
	if err != nil {
		return remote{}, ours(fault.Wrap(err, fault.Unavailable, fault.UnavailableReason, "upstream %q cannot be asked as it is configured", u.Slug))
	}
	return remote{
		Service: s, member: m, upstream: u, client: client,
		repo: meta.Repo{Tenant: u.Tenant, Registry: u.Cache, Name: name}, hops: a.Hops,
	}, nil
}

// key names something of the repository, among all that this process and others
// may be fetching.
func (r remote) key(what string) string {
	return fmt.Sprintf("%d %s %s", r.repo.Registry, r.repo.Name, what)
}

// fetchTimeout bounds what is fetched for many, which does not end with the
// request that asked first. A blob has its own bounds.
const fetchTimeout = 90 * time.Second

// work names the fetching of something. Requests that came through other
// registries are told apart by how many: one that a chain led back here would
// else wait for the one that it is part of (contract row E12).
func (r remote) work(what string) string { return fmt.Sprintf("%d %s", r.hops, r.key(what)) }

// once runs f for all who ask for the same in this process at a time. A caller
// that leaves does not end it.
func once[T any](ctx context.Context, r remote, what string, f func(ctx context.Context) (T, error)) (T, error) {
	shared := context.WithoutCancel(ctx)
	done := r.flights.DoChan(r.work(what), func() (any, error) {
		ctx, cancel := context.WithTimeout(shared, fetchTimeout)
		defer cancel()
		v, err := f(ctx)
		r.statuses.add(r.upstream, r.client)
		return v, err
	})
	var none T
	select {
	case <-ctx.Done():
		return none, ours(fault.From(ctx.Err()))
	case result := <-done:
		if result.Err != nil {
			return none, result.Err
		}
		return result.Val.(T), nil
	}
}

// How long a process waits for what another fetches. It may have died with its
// lease, or leases may be given to nobody: so an upstream that is that slow is
// asked by both.
const (
	otherNode = 3 * time.Second
	lookAgain = 50 * time.Millisecond
)

// errUnknown is what a look into the cache returns where there is nothing to
// answer with.
var errUnknown = errors.New("proxy: it is not known")

// among fetches across processes: while another one fetches the same, cached is
// looked at again and again. cached returns errUnknown where it has no answer.
func among[T any](ctx context.Context, r remote, what string, cached, fetch func(ctx context.Context) (T, error)) (T, error) {
	var none T
	patience := time.NewTimer(otherNode)
	defer patience.Stop()
	key := lease.Key{Kind: "proxy", Tenant: r.repo.Tenant, Name: r.work(what)}
	for {
		l, _, granted := r.leases.Acquire(ctx, key, "")
		if granted {
			defer l.Release()
		}
		v, err := cached(ctx)
		if !errors.Is(err, errUnknown) {
			return v, err
		}
		if granted {
			return fetch(ctx)
		}
		select {
		case <-ctx.Done():
			return none, ours(fault.From(ctx.Err()))
		case <-patience.C:
			return fetch(ctx)
		case <-time.After(lookAgain/2 + rand.N(lookAgain)): //nolint:gosec // spreads the load, hides nothing
		}
	}
}
