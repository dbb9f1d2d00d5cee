package people

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/seal"
)

// How a Refresher works.
const (
	pollEvery = 2 * time.Second
	perBatch  = 200
	aLot      = perBatch / 10
	overdue   = 20 * time.Second // after which a process reads without the lease
	findTime  = 15 * time.Second
	// Of a refresh token, also while the process stops.
	exchangeTime = 20 * time.Second // longer than oidclogin has patience
	keepTime     = 5 * time.Second
	retryIn      = 15 * time.Second // after a provider could not be asked

	// A slow provider holds up no others.
	perProvider  = 2               // people of it who are read at a time
	providerTime = 5 * time.Second // after which no others of it are read in a round
	maxAtOnce    = 50              // providers that are asked at a time
)

// Refresher reads people again when they are due, so that who left a group, or is gone, loses
// the rights without a login. Of many processes one reads at a time; where two do, a person is
// read twice.
type Refresher struct {
	store       Store
	directories *Directories
	leases      lease.Leases
	secrets     *seal.Keyring
	log         *slog.Logger
	now         func() time.Time
	held        lease.Lease // nil: another process reads

	readings
}

// NewRefresher makes one; Run reads.
func NewRefresher(s Store, d *Directories, l lease.Leases, secrets *seal.Keyring, log *slog.Logger) *Refresher {
	return &Refresher{store: s, directories: d, leases: l, secrets: secrets, log: log, now: time.Now}
}

// Run reads until ctx ends. It returns when the refresh tokens that are being used are kept, within
// exchangeTime and keepTime.
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
	if since == 0 {
		r.due(due, r.now())
	}
	of := map[int64][]meta.Person{}
	for _, p := range due {
		of[p.Provider] = append(of[p.Provider], p)
	}
	var g errgroup.Group
	g.SetLimit(maxAtOnce)
	for id, people := range of {
		g.Go(func() error {
			err := r.readAll(ctx, id, people)
			if err == nil && len(due) == perBatch && len(people) >= aLot { // others may be due behind them
				err = r.store.PostponePeople(ctx, id, pollEvery)
			}
			return err
		})
	}
	return len(due) == perBatch, g.Wait()
}

// readAll reads people of one provider.
func (r *Refresher) readAll(ctx context.Context, id int64, people []meta.Person) error {
	provider, err := r.store.FindIdentityProviderByID(ctx, id) // the zero value if it was deleted
	if err != nil && !fault.Is(err, fault.ResourceUnknown) {
		return err
	}
	b := batch{Refresher: r, provider: provider, until: r.now().Add(providerTime)}
	var g errgroup.Group
	g.SetLimit(perProvider)
	for _, p := range people {
		g.Go(func() error {
			err := b.read(ctx, p)
			if fault.Is(err, fault.ResourceUnknown) { // the tenant or the account is being deleted, or the provider does not count any more
				err = b.store.PostponePerson(ctx, p)
			}
			return err
		})
	}
	return g.Wait()
}

// batch are people of one provider.
type batch struct {
	*Refresher

	provider meta.IdentityProvider // the zero value: it was deleted
	until    time.Time
	stopped  atomic.Bool // no others are read in this round
}

func (b *batch) read(ctx context.Context, p meta.Person) error {
	provider := b.provider
	switch {
	case p.Disabled:
		return b.store.PostponePerson(ctx, p)
	case provider.ID == 0:
		return b.store.EndPerson(ctx, causeOf(ctx, meta.IdentityProvider{Tenant: p.Tenant, Slug: "-"}), p)
	case !p.Active || provider.Disabled || !provider.OfferedTo(p.Tenant) || !readable(provider, p):
		return b.store.PostponePerson(ctx, p)
	case b.stopped.Load():
		return nil
	case b.now().After(b.until):
		return b.stop(ctx, "an identity provider answers slowly; what it said of people counts for its directory_grace")
	}
	said, found, err := b.find(ctx, p)
	switch {
	case err == nil && !found:
		return nil
	case err == nil:
		b.answered(provider.Kind, "known")
		if err := b.store.RecordPerson(ctx, causeOf(ctx, provider), p, readingOf(provider, said)); err != nil {
			return err
		}
		if err := applyMappings(ctx, b.store, provider, p.Tenant, GroupNames(provider.Kind, said.Groups)); err != nil {
			b.log.WarnContext(ctx, "a mapping of an identity provider could not be applied", "provider", provider.Name(), "tenant", p.Tenant, "error", err)
		}
		return nil
	case errors.Is(err, login.ErrGone):
		b.answered(provider.Kind, "gone")
		return b.end(ctx, p)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return b.stop(ctx, "an identity provider cannot be asked; what it said of people counts for its directory_grace", "error", err)
}

// end ends the account of a person, and those in other tenants, if the provider is the operator's:
// what it says of a person is about all of them. What an issuer says is about one refresh token.
func (b *batch) end(ctx context.Context, p meta.Person) error {
	accounts := []meta.Person{p}
	if b.provider.Tenant == meta.Deployment && b.provider.Kind != meta.OIDC {
		var err error
		if accounts, err = b.store.AccountsOfPerson(ctx, b.provider.ID, p.Subject); err != nil {
			return err
		}
	}
	for _, one := range accounts {
		if err := b.store.EndPerson(ctx, causeOf(ctx, b.provider), one); err != nil && !fault.Is(err, fault.ResourceUnknown) {
			return err
		}
	}
	return nil
}

// stop puts off all others of the provider.
func (b *batch) stop(ctx context.Context, why string, args ...any) error {
	if b.stopped.Swap(true) {
		return nil
	}
	b.outage(b.provider.Kind)
	b.log.WarnContext(ctx, why, append(args, "provider", b.provider.Name(), "tenant", b.provider.Tenant)...)
	return b.store.PostponePeople(ctx, b.provider.ID, retryIn)
}

// find asks the provider; false: another process does, or it can be asked no longer.
func (b *batch) find(ctx context.Context, p meta.Person) (login.Person, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	if b.provider.Kind == meta.OIDC {
		return b.refresh(ctx, b.provider, p)
	}
	d, err := b.directories.directory(ctx, b.provider)
	if err != nil {
		return login.Person{}, false, err
	}
	said, err := d.Find(ctx, p.Subject)
	return said, true, err
}
