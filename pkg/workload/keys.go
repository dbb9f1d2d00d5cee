package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	lru "github.com/hashicorp/golang-lru/v2"
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
	maxIssuers   = 4096            // whose keys are remembered
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
	mu      sync.Mutex
	known   *lru.Cache[issuer, keySet]
}

// keySet is what is known of the keys of one issuer.
type keySet struct {
	keys    []jose.JSONWebKey
	readAt  time.Time // zero: never
	triedAt time.Time
	failed  error // of the last try
}

func newKeySets(read func(context.Context, issuer) ([]jose.JSONWebKey, error), now func() time.Time) *keySets {
	known, err := lru.New[issuer, keySet](maxIssuers)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &keySets{read: read, now: now, known: known}
}

// find returns the key of the ID; an empty one is that of an issuer with a single key. An
// issuer that has no such key is asked again, but not too often. errNoKey says that it has
// none, any other error that it could not be asked.
func (s *keySets) find(ctx context.Context, of issuer, kid string) (jose.JSONWebKey, error) {
	set := s.get(of)
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

func (s *keySets) get(of issuer) keySet {
	s.mu.Lock()
	defer s.mu.Unlock()
	set, _ := s.known.Get(of)
	return set
}

// refresh reads the keys, once for all that wait for them.
func (s *keySets) refresh(ctx context.Context, of issuer) (keySet, error) {
	shared := context.WithoutCancel(ctx)
	done := s.reading.DoChan(fmt.Sprintf("%q", of), func() (any, error) {
		if before := s.get(of); s.now().Sub(before.triedAt) < RetryAfter {
			return before, nil // another one has just ended
		}
		ctx, cancel := context.WithTimeout(shared, readPatience)
		defer cancel()
		keys, err := s.read(ctx, of)
		s.mu.Lock()
		defer s.mu.Unlock()
		set, _ := s.known.Get(of)
		set.triedAt, set.failed = s.now(), err
		if err == nil {
			set.keys, set.readAt = keys, set.triedAt
		}
		s.known.Add(of, set)
		return set, nil
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
