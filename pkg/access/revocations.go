package access

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Revocation says that tokens of an account below an epoch count no more.
type Revocation struct {
	Tenant  tenant.ID
	Account int64
	Key     string // only tokens that were issued for the key of this name; empty = all of the account
	Epoch   int64  // the least that counts
	At      time.Time
}

// RevocationLife is how long a revocation is of use: longer than a token lives that was
// about to be issued when it was written.
const RevocationLife = TokenTTL + 2*leeway + 4*time.Minute

// The revocations are read again every revocationsReload, and at most once in
// revocationsPause.
const (
	revocationsReload  = 2 * time.Second
	revocationsPause   = 100 * time.Millisecond
	revocationsTimeout = 5 * time.Second // of one reading
)

// RevocationsStale is after which time without a reading requests with a token are refused.
const RevocationsStale = 30 * time.Second

// maxRevocations is how many revocations are read at once, which takes some 10 MiB. Where
// there are more, tokens that were issued before the oldest one that was read are refused.
const maxRevocations = 50_000

// LoadRevocations reads the revocations younger than age, the newest first.
type LoadRevocations func(ctx context.Context, age time.Duration, most int) ([]Revocation, error)

// Revocations knows which tokens count no more. Safe for concurrent use.
type Revocations struct {
	load    LoadRevocations
	now     func() time.Time
	current atomic.Pointer[revoked]
	due     chan struct{} // holds one when they are to be read again
}

// revoked is what was read at one moment.
type revoked struct {
	at     time.Time // what was committed before is in it
	epochs map[revokedKey]int64
	floor  time.Time // revocations from before were not read; zero where all were
}

type revokedKey struct {
	tenant  tenant.ID
	account int64
	key     string
}

// NewRevocations knows nothing before the first Read.
func NewRevocations(load LoadRevocations) *Revocations {
	r := &Revocations{load: load, now: time.Now, due: make(chan struct{}, 1)}
	r.current.Store(&revoked{})
	return r
}

// Wake has Run read the revocations soon.
func (r *Revocations) Wake() {
	select {
	case r.due <- struct{}{}:
	default: // one reading is due already, and begins after this change
	}
}

// Run reads the revocations every 2 s, and when it is woken, until ctx ends. failed is called
// once when they can no longer be read, with nil once they can again.
func (r *Revocations) Run(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(revocationsReload)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.due:
		}
		err := r.Read(ctx)
		if ctx.Err() != nil {
			return
		}
		if (err != nil) != failing {
			failing = err != nil
			failed(err)
		}
		_ = pause.For(ctx, revocationsPause) // the loop sees that ctx ended
	}
}

// Read reads the revocations now.
func (r *Revocations) Read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, revocationsTimeout)
	defer cancel()
	known := &revoked{at: r.now()}
	rows, err := r.load(ctx, RevocationLife, maxRevocations)
	if err != nil {
		return fmt.Errorf("read the revocations: %w", err)
	}
	known.fill(rows)
	r.current.Store(known)
	return nil
}

// fill takes the rows, the newest first.
func (k *revoked) fill(rows []Revocation) {
	k.epochs = make(map[revokedKey]int64, len(rows))
	for _, row := range rows {
		k.epochs[revokedKey{row.Tenant, row.Account, row.Key}] = row.Epoch
	}
	if len(rows) >= maxRevocations {
		k.floor = rows[len(rows)-1].At
	}
}

var (
	errRevoked = errors.New("the token was revoked")
	errStale   = errors.New("it is not known which tokens were revoked")
)

// check returns nil for a token that counts. Where the revocations could not be read for too
// long it returns fault.UnavailableReason for all tokens but anonymous ones.
func (r *Revocations) check(p *payload) error {
	if r == nil || p.Subject == "" {
		return nil
	}
	known := r.current.Load()
	if r.now().Sub(known.at) > RevocationsStale {
		return fault.Down(errStale, "the metadata store")
	}
	if len(known.epochs) == 0 {
		return nil
	}
	account := revokedKey{p.Tenant, p.Account, ""}
	key := account
	key.key = p.Key
	if p.AccountEpoch < known.epochs[account] || p.AccountEpoch < known.epochs[key] || !known.floor.IsZero() && p.IssuedAt.Before(known.floor.Add(leeway)) {
		return errRevoked
	}
	return nil
}
