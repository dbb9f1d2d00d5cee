package proxy

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
)

// listsLife is how long a list is answered while its upstream is out.
const listsLife = time.Hour

// knownBytes is how much of lists a process remembers, more or less. It holds the
// longest several times: who reads it page by page has the upstream asked once.
const knownBytes = 64 << 20

// lists remembers what upstreams listed. Those that were asked for least recently
// go first.
type lists struct {
	mu    sync.Mutex
	known *lru.LRU[string, list]
	bytes int
}

// list is what an upstream listed, and when.
type list struct {
	tags      []string
	referrers []meta.Referrer
	said      time.Time
}

// size is what the list takes in memory, more or less.
func (l list) size() int {
	const header = 64 // of an entry, and of an empty list
	size := header
	for _, tag := range l.tags {
		size += header + len(tag)
	}
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
	l.mu.Lock()
	defer l.mu.Unlock()
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

// list answers what the upstream listed a while ago, what it lists now, or, when
// it is out, what it listed last.
func (r remote) list(ctx context.Context, what string, fetch func(ctx context.Context) (list, error)) (list, error) {
	key := r.key(what)
	before, known := r.lists.find(key)
	age := r.now().Sub(before.said)
	if known && age < r.upstream.Settings.TagTTL {
		return before, nil
	}
	if r.absent.knows(key, r.now()) {
		return list{}, errNotHere
	}
	now, err := once(ctx, r, what, fetch)
	switch outcomeOf(err) {
	case chain.Found:
		now.said = r.now()
		r.lists.put(key, now)
		return now, nil
	case chain.NotHere:
		r.lists.drop(key)
		r.absent.add(key, r.now(), r.upstream.Settings.NegativeTTL)
	case chain.Outage:
		if known && age < min(listsLife, r.upstream.Settings.TagTTL+r.upstream.Settings.StaleIfError) {
			return before, nil
		}
	}
	return list{}, err
}
