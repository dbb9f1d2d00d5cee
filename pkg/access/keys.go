package access

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/berth-registry/berth/pkg/fault"
)

// keysReload is how often the keys are read again. A new key signs after two
// of them: by then every process knows it.
const keysReload = time.Minute

// A token with an unknown key makes the keys be read again: it may be the first
// key of a deployment or of a new secret key. A rate limit keeps that rare.
const (
	keysRefresh      = time.Second
	keysRefreshBurst = 4
	keysRefreshLimit = 2 * time.Second // of one reading
)

// KeyStore keeps what verifies tokens.
type KeyStore interface {
	ListVerifyKeys(ctx context.Context) ([]VerifyKey, error)
}

// Keys are the public halves of the keys of the deployment. Safe for concurrent
// use.
type Keys struct {
	store   KeyStore
	now     func() time.Time
	current atomic.Pointer[keySet]

	refreshing sync.Mutex
	refreshes  *rate.Limiter
	unread     error // why the last refresh could not read the keys
}

type keySet struct {
	byHeader map[string]*verifier
	ordered  []*verifier // newest first
}

// OpenKeys reads the keys. There may be none yet: they are made where tokens are
// signed.
func OpenKeys(ctx context.Context, store KeyStore) (*Keys, error) {
	k := &Keys{store: store, now: time.Now, refreshes: rate.NewLimiter(rate.Every(keysRefresh), keysRefreshBurst)}
	return k, k.reload(ctx)
}

// reload reads the keys again; after an error the known ones stay.
func (k *Keys) reload(ctx context.Context) error {
	stored, err := k.store.ListVerifyKeys(ctx)
	if err != nil {
		return fmt.Errorf("read the signing keys: %w", err)
	}
	set := &keySet{byHeader: make(map[string]*verifier, len(stored))}
	for _, s := range stored {
		opened, err := openVerifier(s)
		if err != nil {
			return err
		}
		set.byHeader[opened.header] = opened
		set.ordered = append(set.ordered, opened)
	}
	slices.SortFunc(set.ordered, func(a, b *verifier) int { return b.CreatedAt.Compare(a.CreatedAt) })
	k.current.Store(set)
	return nil
}

// find returns the key that writes the header, or errForged. An unknown key is looked up in
// the store, at most a few times a second. If the store fails, the key may exist, and its
// error is returned.
func (k *Keys) find(header string) (*verifier, error) {
	key := k.current.Load().byHeader[header]
	if key == nil {
		err := k.refresh(header)
		if key = k.current.Load().byHeader[header]; key == nil && err != nil {
			return nil, fault.Down(err, "the metadata store")
		}
	}
	if key == nil || key.expired(k.now()) {
		return nil, errForged
	}
	return key, nil
}

func (k *Keys) refresh(header string) error {
	k.refreshing.Lock()
	defer k.refreshing.Unlock()
	if k.current.Load().byHeader[header] != nil || !k.refreshes.Allow() {
		return k.unread
	}
	ctx, cancel := context.WithTimeout(context.Background(), keysRefreshLimit)
	defer cancel()
	k.unread = k.reload(ctx)
	return k.unread
}

// Run reloads the keys every minute until ctx ends. A reload that failed is
// passed to failed: the known keys keep serving.
func (k *Keys) Run(ctx context.Context, failed func(error)) { every(ctx, k.reload, failed) }

func every(ctx context.Context, do func(context.Context) error, failed func(error)) {
	tick := time.NewTicker(keysReload)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := do(ctx); err != nil && ctx.Err() == nil {
				failed(err)
			}
		}
	}
}

// JWKS is a JSON Web Key Set (RFC 7517 section 5).
type JWKS struct {
	Keys []JWK `json:"keys"`
}

// JWK is the public half of a signing key (RFC 8037 section 2).
type JWK struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
	X         string `json:"x"`
}

// JWKS lists the public halves of all keys that verify, newest first.
func (i *Issuer) JWKS() JWKS {
	ordered, now := i.keys.current.Load().ordered, i.keys.now()
	set := JWKS{Keys: make([]JWK, 0, len(ordered))}
	for _, key := range ordered {
		if key.expired(now) {
			continue
		}
		set.Keys = append(set.Keys, JWK{
			Type: "OKP", Curve: "Ed25519", Use: "sig", Algorithm: EdDSA, ID: key.ID,
			X: base64.RawURLEncoding.EncodeToString(key.public),
		})
	}
	return set
}
