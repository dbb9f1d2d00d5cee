package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"github.com/berth-registry/berth/pkg/fault"
)

// How long the keys of an issuer count, and how often it is asked.
const (
	// KeysFresh is how long keys are used without asking the issuer again.
	KeysFresh = 15 * time.Minute
	// KeysLife is how long they are used while it does not answer.
	KeysLife = 2 * time.Hour
	// RetryAfter is the least time between two tries to read them, whatever tokens name.
	RetryAfter = 10 * time.Second

	readPatience = 8 * time.Second // for both documents
	maxIssuers   = 4096            // whose keys are remembered, of all tenants
)

// errNoKey is a token that was signed by no key of its issuer.
var errNoKey = errors.New("the issuer has no such key")

// issuer is one as a tenant, by its slug, may reach it.
type issuer struct{ tenant, url string }

// keySets remembers the keys of issuers. It is safe for concurrent use.
type keySets struct {
	read func(ctx context.Context, of issuer) ([]jose.JSONWebKey, error)
	now  func() time.Time

	reading singleflight.Group
	known   *fairCache[string, keySet] // by issuer.url
}

// keySet is what is known of the keys of one issuer.
type keySet struct {
	keys    []jose.JSONWebKey
	readAt  time.Time // zero: never
	triedAt time.Time
	failed  error // of the last try
}

func newKeySets(read func(context.Context, issuer) ([]jose.JSONWebKey, error), now func() time.Time) *keySets {
	return &keySets{read: read, now: now, known: newFairCache[string](maxIssuers, func(keySet) int { return 1 })}
}

// find returns the key of the ID; an empty one is that of an issuer with a single key. An
// issuer that has no such key is asked again, but not too often. errNoKey says that it has
// none, any other error that it could not be asked.
func (s *keySets) find(ctx context.Context, of issuer, kid string) (jose.JSONWebKey, error) {
	set, _ := s.known.get(of.tenant, of.url)
	key, ok := set.key(kid)
	if ok && s.now().Sub(set.readAt) < KeysFresh {
		return key, nil
	}
	if s.now().Sub(set.triedAt) >= RetryAfter {
		var err error
		if set, err = s.refresh(ctx, of); err != nil {
			return jose.JSONWebKey{}, err
		}
		key, ok = set.key(kid)
	}
	switch {
	case ok && s.now().Sub(set.readAt) < KeysLife:
		return key, nil
	case set.failed != nil:
		return jose.JSONWebKey{}, fault.Down(set.failed, "the issuer of the token").WithRetryAfter(RetryAfter)
	default:
		return jose.JSONWebKey{}, errNoKey
	}
}

// refresh reads the keys, once for all that wait for them.
func (s *keySets) refresh(ctx context.Context, of issuer) (keySet, error) {
	shared := context.WithoutCancel(ctx)
	done := s.reading.DoChan(fmt.Sprintf("%q", of), func() (any, error) {
		if before, _ := s.known.get(of.tenant, of.url); s.now().Sub(before.triedAt) < RetryAfter {
			return before, nil // another one has just ended
		}
		ctx, cancel := context.WithTimeout(shared, readPatience)
		defer cancel()
		keys, err := s.read(ctx, of)
		return s.known.update(of.tenant, of.url, func(set keySet) keySet {
			set.triedAt, set.failed = s.now(), err
			if err == nil {
				set.keys, set.readAt = keys, set.triedAt
			}
			return set
		}), nil
	})
	select {
	case <-ctx.Done():
		return keySet{}, fault.From(ctx.Err())
	case r := <-done:
		return r.Val.(keySet), nil
	}
}

func (k keySet) key(kid string) (jose.JSONWebKey, bool) {
	if kid == "" && len(k.keys) == 1 {
		return k.keys[0], true
	}
	for _, key := range k.keys {
		if key.KeyID == kid && kid != "" {
			return key, true
		}
	}
	return jose.JSONWebKey{}, false
}

// Keys are the keys of issuers of people's tokens, under the rules for those of jobs. Safe for
// concurrent use.
type Keys struct{ sets *keySets }

// NewKeys makes Keys; of the Config its ways and its clock count.
func NewKeys(c Config) *Keys {
	return &Keys{newKeySets(discovery{named: c.Named, led: c.Led}.keys, c.Now)}
}

// Verify returns what a token that the issuer has signed says. Its claims are not checked. An
// issuer that cannot be asked is fault.Unavailable.
func (k *Keys) Verify(ctx context.Context, tenantSlug, of, raw string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil {
		return nil, err
	}
	if len(signed.Signatures) != 1 {
		return nil, errors.New("it has not exactly one signature")
	}
	header := signed.Signatures[0].Header
	key, err := k.sets.find(ctx, issuer{tenantSlug, of}, header.KeyID)
	if err != nil {
		return nil, err
	}
	if key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return nil, fmt.Errorf("the key is for %s, and the token signed by %s", key.Algorithm, header.Algorithm)
	}
	return signed.Verify(key.Key)
}
