package access

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// A new key is published for publishLead before it signs. The one before signs
// for retireOverlap more, so that at any time one of those that a process has
// read signs.
const (
	publishLead   = 2 * keysReload
	retireOverlap = keysReload
)

// strangerSlack is how long a key that cannot be unsealed here is kept beyond
// its life: another process may have its secret key and replaces it then.
const strangerSlack = 24 * time.Hour

// SigningKeyStore keeps the keys that sign tokens.
type SigningKeyStore interface {
	ListSigningKeys(ctx context.Context) ([]SigningKey, error)
	// PutSigningKey adds the key; an existing one with its id wins and is
	// returned, so that processes that start together agree.
	PutSigningKey(ctx context.Context, k SigningKey) (SigningKey, error)
	// UpdateSigningKey keeps Sealed, unless it is empty, and RetiredAt, where none is
	// kept yet. A removed key stays removed.
	UpdateSigningKey(ctx context.Context, k SigningKey) error
	DeleteSigningKey(ctx context.Context, id string) error
	// ListOpenSigningKeys lists the unsealed keys of older versions.
	ListOpenSigningKeys(ctx context.Context) ([]OpenSigningKey, error)
	// SigningKeysDue returns when the present keys were asked to be replaced: those from
	// before are due. The zero time if never.
	SigningKeysDue(ctx context.Context) (time.Time, error)
	// AdoptSigningKey keeps the key in place of the open one with its id, which is
	// gone then.
	AdoptSigningKey(ctx context.Context, k SigningKey) error
}

// Sealer seals private keys for the store; *seal.Keyring is one.
type Sealer interface {
	Seal(secret, bound string) ([]byte, error)
	Open(sealed []byte, bound string) (string, error)
	Stale(sealed []byte) bool // it was sealed with a key from before the present one
}

// SignerOptions say how keys are replaced.
type SignerOptions struct {
	Life     time.Duration // of a key, until the next one is made
	Handover time.Duration // how long a key that lay open keeps signing, for processes of the version before

	// Unreadable is called with keys that no secret key here unseals. May be nil.
	Unreadable func(ids []string)
}

// Signer has the private keys of the deployment, and replaces them. Safe for
// concurrent use.
type Signer struct {
	store  SigningKeyStore
	sealer Sealer
	opts   SignerOptions
	now    func() time.Time
	keys   atomic.Pointer[[]*signer] // that can be opened, newest first
	told   []string                  // as Unreadable was
}

// OpenSigner reads the keys, makes a first one if none can be
// unsealed, and seals unsealed ones. What it makes and seals is bound to sealer:
// without one it fails.
func OpenSigner(ctx context.Context, store SigningKeyStore, sealer Sealer, o SignerOptions) (*Signer, error) {
	s := &Signer{store: store, sealer: sealer, opts: o, now: time.Now}
	s.keys.Store(&[]*signer{})
	return s, s.tend(ctx)
}

// Run tends the keys every minute until ctx ends; failures are passed to failed,
// and the known keys keep signing.
func (s *Signer) Run(ctx context.Context, failed func(error)) { every(ctx, s.tend, failed) }

// boundTo is what a key's seal is bound to.
func boundTo(id string) string { return "signing-keys/" + id }

// tend reads the keys and does the work that is due. Every step is safe beside other
// processes that do the same, and may be cut off after any.
func (s *Signer) tend(ctx context.Context) error {
	if err := s.adopt(ctx); err != nil {
		return err
	}
	stored, err := s.store.ListSigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("read the signing keys: %w", err)
	}
	due, err := s.store.SigningKeysDue(ctx)
	if err != nil {
		return fmt.Errorf("read whether signing keys are to be replaced: %w", err)
	}
	now := s.now()
	var mine []*signer
	var strangers []SigningKey
	for _, k := range stored {
		opened, err := s.open(ctx, k, now)
		if err != nil {
			return err
		}
		if opened == nil {
			strangers = append(strangers, k)
		} else {
			mine = append(mine, opened)
		}
	}
	s.tell(strangers)
	young := func(k *signer) bool {
		return k.RetiredAt.IsZero() && now.Sub(k.CreatedAt) < s.opts.Life && !k.CreatedAt.Before(due)
	}
	if !slices.ContainsFunc(mine, young) {
		fresh, err := s.make(ctx, mine, now, due)
		if err != nil {
			return err
		}
		mine = append(mine, fresh)
	}
	slices.SortFunc(mine, func(a, b *signer) int { return b.SignsFrom.Compare(a.SignsFrom) })
	err = s.retire(ctx, mine, strangers, now)
	s.keys.Store(&mine)
	return err
}

// adopt seals unsealed keys. They sign until the processes of the previous
// version, which can read no others, have been replaced.
func (s *Signer) adopt(ctx context.Context) error {
	lying, err := s.store.ListOpenSigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("read the signing keys: %w", err)
	}
	for _, k := range lying {
		public, err := k.Publish()
		if err != nil {
			return err
		}
		if end := s.now().Add(s.opts.Handover); public.RetiredAt.IsZero() || end.Before(public.RetiredAt) {
			public.RetiredAt = end
		}
		sealed, err := s.seal(public, k.Private)
		if err != nil {
			return err
		}
		if err := s.store.AdoptSigningKey(ctx, sealed); err != nil {
			return fmt.Errorf("keep signing key %s sealed: %w", k.ID, err)
		}
	}
	return nil
}

func (s *Signer) seal(k VerifyKey, private []byte) (SigningKey, error) {
	sealed, err := s.sealer.Seal(string(private), boundTo(k.ID))
	if err != nil {
		return SigningKey{}, fmt.Errorf("signing key %s cannot be sealed: %w", k.ID, err)
	}
	return SigningKey{VerifyKey: k, Sealed: sealed}, nil
}

// open opens the key, nil where no secret key here does. One that this process
// had open stays so: processes with a new secret key may have sealed it again. What
// is sealed with an old secret key is sealed with the new one, and retires: someone
// with the old one may have it, too.
func (s *Signer) open(ctx context.Context, k SigningKey, now time.Time) (*signer, error) {
	der, err := s.sealer.Open(k.Sealed, boundTo(k.ID))
	if err != nil {
		for _, known := range *s.keys.Load() {
			if known.ID == k.ID && bytes.Equal(known.Public, k.Public) {
				return &signer{k.VerifyKey, known.private}, nil
			}
		}
		return nil, nil
	}
	private, err := parsePrivate(k.ID, []byte(der))
	if err != nil {
		return nil, err
	}
	if s.sealer.Stale(k.Sealed) {
		if k, err = s.seal(k.VerifyKey, []byte(der)); err != nil {
			return nil, err
		}
		if k.RetiredAt.IsZero() {
			k.RetiredAt = now.Add(publishLead + retireOverlap)
		}
		if err := s.store.UpdateSigningKey(ctx, k); err != nil {
			return nil, fmt.Errorf("seal signing key %s with the new secret key: %w", k.ID, err)
		}
	}
	return &signer{k.VerifyKey, private}, nil
}

// make makes the next key. It signs once every process has read it, or, where
// none signs now, at once. It is of due or later, also by a clock that is behind the
// store's.
func (s *Signer) make(ctx context.Context, mine []*signer, now, due time.Time) (*signer, error) {
	fresh, der, err := newKey(now)
	if err != nil {
		return nil, err
	}
	fresh.CreatedAt, fresh.SignsFrom = later(now, due), now
	for _, k := range mine {
		if k.RetiredAt.IsZero() || k.RetiredAt.After(now) {
			fresh.SignsFrom = later(fresh.SignsFrom, later(now.Add(publishLead), k.RetiredAt.Add(-retireOverlap)))
		}
	}
	for range 2 {
		sealed, err := s.seal(fresh, der)
		if err != nil {
			return nil, err
		}
		kept, err := s.store.PutSigningKey(ctx, sealed)
		if err != nil {
			return nil, fmt.Errorf("keep a new signing key: %w", err)
		}
		opened, err := s.open(ctx, kept, now)
		if err != nil || opened != nil {
			return opened, err
		}
		fresh.ID += "-" + strings.ToLower(rand.Text()[:8]) // a process with another secret key made one in this minute
	}
	return nil, errors.New("a new signing key that was just kept cannot be opened")
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// retire sets an end to keys that have a successor, and removes those whose
// tokens have all expired.
func (s *Signer) retire(ctx context.Context, mine []*signer, strangers []SigningKey, now time.Time) error {
	var failed error
	for i, k := range mine {
		if i > 0 && k.RetiredAt.IsZero() {
			k.RetiredAt = later(now, mine[0].SignsFrom).Add(retireOverlap)
			failed = errors.Join(failed, s.end(ctx, k.VerifyKey))
		}
		if k.expired(now) {
			failed = errors.Join(failed, s.store.DeleteSigningKey(ctx, k.ID))
		}
	}
	for _, k := range strangers {
		switch {
		case k.expired(now):
			failed = errors.Join(failed, s.store.DeleteSigningKey(ctx, k.ID))
		case k.RetiredAt.IsZero() && now.Sub(k.CreatedAt) > s.opts.Life+strangerSlack:
			k.RetiredAt = now
			failed = errors.Join(failed, s.store.UpdateSigningKey(ctx, k))
		}
	}
	if failed != nil {
		return fmt.Errorf("retire signing keys: %w", failed)
	}
	return nil
}

// end keeps RetiredAt, and the seal as it is in the store.
func (s *Signer) end(ctx context.Context, k VerifyKey) error {
	return s.store.UpdateSigningKey(ctx, SigningKey{VerifyKey: k})
}

// tell reports keys that cannot be unsealed, once for each set of them. One whose
// private part is not stored is another matter: a version before signs with it.
func (s *Signer) tell(strangers []SigningKey) {
	var ids []string
	for _, k := range strangers {
		if len(k.Sealed) > 0 {
			ids = append(ids, k.ID)
		}
	}
	if len(ids) > 0 && s.opts.Unreadable != nil && !slices.Equal(ids, s.told) {
		s.opts.Unreadable(ids)
	}
	s.told = ids
}

// signs is the key that signs now: the newest that every process has had time to
// read. Where all are younger it is the oldest, which was made first.
func (s *Signer) signs() (*signer, error) {
	now, keys := s.now(), *s.keys.Load()
	for _, k := range keys {
		if !k.SignsFrom.After(now) && (k.RetiredAt.IsZero() || k.RetiredAt.After(now)) {
			return k, nil
		}
	}
	for _, k := range slices.Backward(keys) {
		if k.RetiredAt.IsZero() {
			return k, nil
		}
	}
	return nil, fault.Down(errors.New("no signing key can be opened with secret_key"), "the token service")
}
