package cache

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
)

// listsLife is how long a list is served during an outage of its upstream.
const listsLife = time.Hour

// knownBytes bounds the lists in memory, approximately. The longest list fits
// several times, so that it is fetched once for all of its pages.
const knownBytes = 64 << 20

// lists is an LRU cache of upstreams' lists.
type lists struct {
	mu    sync.Mutex
	known *lru.LRU[string, list]
	bytes int
}

// list is a list of an upstream, and when it was fetched.
type list struct {
	tags      knownTags
	referrers []meta.Referrer
	said      time.Time // of referrers
}

// size is about the memory that the list takes.
func (l list) size() int {
	const header = 64 // of an entry, and of an empty list
	size := header + l.tags.size()
	for _, r := range l.referrers {
		size += 4*header + len(r.Digest) + len(r.MediaType) + len(r.ArtifactType)
		for key, value := range r.Annotations {
			size += header + len(key) + len(value)
		}
	}
	return size
}

func newLists() *lists {
	l := &lists{}
	known, err := lru.NewLRU(knownBytes, func(_ string, gone list) { l.bytes -= gone.size() })
	if err != nil {
		panic(err) // only for a size below 1
	}
	l.known = known
	return l
}

func (l *lists) find(key string) (list, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known.Get(key)
}

func (l *lists) put(key string, said list) {
	l.change(key, func(list) list { return said })
}

// change puts what f makes of the list that is known.
func (l *lists) change(key string, f func(list) list) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, _ := l.known.Peek(key)
	said := f(before)
	l.known.Remove(key)
	l.known.Add(key, said)
	for l.bytes += said.size(); l.bytes > knownBytes; {
		l.known.RemoveOldest()
	}
}

func (l *lists) drop(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known.Remove(key)
}

// Freshness says how far a list may be relied on.
type Freshness struct {
	Stale      bool          // the upstream did not answer: the list is of before
	Age        time.Duration // of a list that is stale and whole
	Incomplete bool          // made of stored content: the upstream may have more
}

// With is the freshness of a list that is merged from two.
func (f Freshness) With(g Freshness) Freshness {
	return Freshness{Stale: f.Stale || g.Stale, Age: max(f.Age, g.Age), Incomplete: f.Incomplete || g.Incomplete}
}

// listLife is how long a list is served without asking. While little is left of the
// upstream's budget that is longer, within the bounds of a stale list (contract row T74).
func (r *Repository) listLife() time.Duration {
	life := r.Settings.TagTTL
	return max(life, min(life*time.Duration(r.client.ListStretch()), life+r.Settings.StaleIfError, listsLife))
}

// freshness is that of a list of this age, which is served without asking.
func (r *Repository) freshness(age time.Duration) Freshness {
	if age < r.Settings.TagTTL || age <= 0 {
		return Freshness{}
	}
	return Freshness{Stale: true, Age: age}
}

// listOf returns a fresh list from the cache, else the upstream's present list, or, if
// the upstream does not respond, its last one.
func (r *Repository) listOf(ctx context.Context, what string, fetch func(ctx context.Context) (list, error)) (list, Freshness, error) {
	known := r.caches.lists
	key := r.key(what)
	before, ok := known.find(key)
	age := r.caches.Now().Sub(before.said)
	if ok && age < r.listLife() {
		return before, r.freshness(age), nil
	}
	if r.isAbsent(what) {
		return list{}, Freshness{}, chain.ErrNotHere
	}
	now, err := singleFlight(ctx, r, what, fetch)
	switch chain.OutcomeOf(err) {
	case chain.Found:
		now.said = r.caches.Now()
		known.put(key, now)
		return now, Freshness{}, nil
	case chain.NotHere:
		known.drop(key)
		r.noteAbsence(what, err)
	default:
		if ok && age < min(listsLife, r.Settings.TagTTL+r.staleLimit(err)) {
			return before, Freshness{Stale: true, Age: age}, nil
		}
	}
	return list{}, Freshness{}, err
}
