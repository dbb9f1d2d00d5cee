package people

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
)

// How a Refresher works.
const (
	pollEvery = 2 * time.Second
	perBatch  = 200
	atOnce    = 8                // people who are read at a time
	overdue   = 20 * time.Second // after which a process reads without the lease
	findTime  = 15 * time.Second
	retryIn   = 15 * time.Second // after a provider could not be asked
)

// Refresher reads people again when they are due, so that who left a group, or is gone, loses
// the rights without a login. Of many processes one reads at a time; where two do, a person is
// read twice.
type Refresher struct {
	store       Store
	directories *Directories
	leases      lease.Leases
	log         *slog.Logger
	held        lease.Lease // nil: another process reads
}

// NewRefresher makes one; Run reads.
func NewRefresher(s Store, d *Directories, l lease.Leases, log *slog.Logger) *Refresher {
	return &Refresher{store: s, directories: d, leases: l, log: log}
}

// Run reads until ctx ends.
func (r *Refresher) Run(ctx context.Context) {
	defer r.release()
	for {
		more, err := r.Round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.log.WarnContext(ctx, "people of identity providers are not read again; their groups end in time", "error", err)
		case more:
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pollEvery):
		}
	}
}

// mayRead reports whether this process has the lease.
func (r *Refresher) mayRead(ctx context.Context) bool {
	if r.held != nil {
		select {
		case <-r.held.Lost():
			r.release()
		default:
			return true
		}
	}
	held, _, ok := r.leases.Acquire(ctx, lease.Key{Kind: "people"}, "")
	if ok {
		r.held = held
	}
	return ok
}

func (r *Refresher) release() {
	if r.held != nil {
		r.held.Release()
		r.held = nil
	}
}

// Round reads those who are due, up to a number; more says that there may be others.
func (r *Refresher) Round(ctx context.Context) (bool, error) {
	since := time.Duration(0)
	if !r.mayRead(ctx) {
		since = overdue
	}
	due, err := r.store.DuePeople(ctx, since, perBatch)
	if err != nil {
		return false, err
	}
	b := batch{Refresher: r, providers: map[int64]meta.IdentityProvider{}}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, p := range due {
		g.Go(func() error {
			err := b.read(ctx, p)
			if fault.Is(err, fault.ResourceUnknown) { // the tenant or the account is being deleted
				err = b.store.PostponePerson(ctx, p)
			}
			return err
		})
	}
	return len(due) == perBatch, g.Wait()
}

// batch is what a round has found out.
type batch struct {
	*Refresher

	mu        sync.Mutex
	providers map[int64]meta.IdentityProvider
	down      sync.Map // of IDs of providers that could not be asked
}

// provider finds a provider once; the zero value if it is gone.
func (b *batch) provider(ctx context.Context, id int64) (meta.IdentityProvider, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p, ok := b.providers[id]; ok {
		return p, nil
	}
	p, err := b.store.FindIdentityProviderByID(ctx, id)
	if err != nil && !fault.Is(err, fault.ResourceUnknown) {
		return p, err
	}
	b.providers[id] = p
	return p, nil
}

func (b *batch) read(ctx context.Context, p meta.Person) error {
	if p.Disabled {
		return b.store.PostponePerson(ctx, p)
	}
	if p.Provider < 0 { // it was deleted
		return b.store.EndPerson(ctx, causeOf(ctx, meta.IdentityProvider{Tenant: p.Tenant, Slug: "-"}), p)
	}
	provider, err := b.provider(ctx, p.Provider)
	switch {
	case err != nil || provider.ID == 0:
		return err
	case !p.Active || provider.Disabled || !provider.OfferedTo(p.Tenant) || !Searches(provider):
		return b.store.PostponePerson(ctx, p)
	}
	if _, down := b.down.Load(provider.ID); down {
		return nil
	}
	said, err := b.find(ctx, provider, p)
	switch {
	case err == nil:
		if err := applyMappings(ctx, b.store, provider, p.Tenant, GroupNames(provider.Kind, said.Groups)); err != nil {
			b.log.WarnContext(ctx, "a mapping of an identity provider could not be applied", "provider", provider.Name(), "tenant", p.Tenant, "error", err)
		}
		return b.store.RecordPerson(ctx, causeOf(ctx, provider), p, readingOf(provider, said))
	case errors.Is(err, login.ErrGone):
		return b.end(ctx, provider, p)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if _, known := b.down.LoadOrStore(provider.ID, true); known {
		return nil
	}
	b.log.WarnContext(ctx, "an identity provider cannot be asked; what it said of people counts for its directory_grace", "provider", provider.Name(), "tenant", provider.Tenant, "error", err)
	return b.store.PostponePeople(ctx, provider.ID, retryIn)
}

// end ends the account of a person, and those in other tenants, if the provider is the operator's:
// what it says of a person is about all of them.
func (b *batch) end(ctx context.Context, provider meta.IdentityProvider, p meta.Person) error {
	accounts := []meta.Person{p}
	if provider.Tenant == meta.Deployment {
		var err error
		if accounts, err = b.store.AccountsOfPerson(ctx, provider.ID, p.Subject); err != nil {
			return err
		}
	}
	for _, one := range accounts {
		if err := b.store.EndPerson(ctx, causeOf(ctx, provider), one); err != nil && !fault.Is(err, fault.ResourceUnknown) {
			return err
		}
	}
	return nil
}

func (b *batch) find(ctx context.Context, provider meta.IdentityProvider, p meta.Person) (login.Person, error) {
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	d, err := b.directories.directory(ctx, provider)
	if err != nil {
		return login.Person{}, err
	}
	return d.Find(ctx, p.Subject)
}
