package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// keysReload is how often the keys are read again. A new key signs after two
// of them: by then every process knows it, so that nobody needs to go to the
// store for a token with an unknown key.
const keysReload = time.Minute

// KeyStore keeps signing keys.
type KeyStore interface {
	// PutSigningKey adds the key; one that is there already under its id wins and
	// is returned, so that processes that start together agree.
	PutSigningKey(ctx context.Context, k SigningKey) (SigningKey, error)
	ListSigningKeys(ctx context.Context) ([]SigningKey, error)
}

// Keys are the keys of the deployment: the newest one that is not retired
// signs, all verify. Safe for concurrent use.
type Keys struct {
	store   KeyStore
	now     func() time.Time
	current atomic.Pointer[keySet]
}

type keySet struct {
	signs    *key
	byHeader map[string]*key
	ordered  []*key // newest first
}

// OpenKeys reads the keys, and makes the first one where there is none.
func OpenKeys(ctx context.Context, store KeyStore) (*Keys, error) {
	k := &Keys{store: store, now: time.Now}
	err := k.reload(ctx)
	if !errors.Is(err, errNoKey) {
		return k, err
	}
	fresh, err := newSigningKey(k.now())
	if err != nil {
		return nil, err
	}
	if _, err := store.PutSigningKey(ctx, fresh); err != nil {
		return nil, fmt.Errorf("keep the first signing key: %w", err)
	}
	return k, k.reload(ctx)
}

var errNoKey = errors.New("there is no signing key that is not retired")

// reload reads the keys again; after an error the known ones stay.
func (k *Keys) reload(ctx context.Context) error {
	stored, err := k.store.ListSigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("read the signing keys: %w", err)
	}
	set := &keySet{byHeader: make(map[string]*key, len(stored))}
	for _, s := range stored {
		opened, err := openKey(s)
		if err != nil {
			return err
		}
		set.byHeader[opened.header] = opened
		set.ordered = append(set.ordered, opened)
	}
	slices.SortFunc(set.ordered, func(a, b *key) int { return b.CreatedAt.Compare(a.CreatedAt) })
	if set.signs = signer(set.ordered, k.now()); set.signs == nil {
		return errNoKey
	}
	k.current.Store(set)
	return nil
}

// signer picks the newest key that every process has had time to read; where
// all are younger, the oldest: it was made first.
func signer(newestFirst []*key, now time.Time) *key {
	var oldest *key
	for _, k := range newestFirst {
		if !k.RetiredAt.IsZero() {
			continue
		}
		if now.Sub(k.CreatedAt) >= 2*keysReload {
			return k
		}
		oldest = k
	}
	return oldest
}

// Run reloads the keys every minute until ctx ends. A reload that failed is
// told to failed: the known keys go on serving.
func (k *Keys) Run(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(keysReload)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := k.reload(ctx); err != nil && ctx.Err() == nil {
				failed(err)
			}
		}
	}
}
