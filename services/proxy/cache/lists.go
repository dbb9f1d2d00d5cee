package cache

import (
	"context"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/upstream"
)

// listsLife is how long a list is answered while its upstream is out.
const listsLife = time.Hour

// knownBytes is about how much of lists a process remembers. The longest list fits
// several times, so that the upstream is asked once for all of its pages.
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

// listOf answers what the upstream listed a while ago, what it lists now, or, when
// it is out, what it listed last.
func (r *Repository) listOf(ctx context.Context, what string, fetch func(ctx context.Context) (list, error)) (list, error) {
	known := r.caches.lists
	key := r.key(what)
	before, ok := known.find(key)
	age := r.caches.Now().Sub(before.said)
	if ok && age < r.Settings.TagTTL {
		return before, nil
	}
	if r.isAbsent(what) {
		return list{}, chain.ErrNotHere
	}
	now, err := singleFlight(ctx, r, what, fetch)
	switch chain.OutcomeOf(err) {
	case chain.Found:
		now.said = r.caches.Now()
		known.put(key, now)
		return now, nil
	case chain.NotHere:
		known.drop(key)
		r.noteAbsence(what, err)
	case chain.Outage:
		if ok && age < min(listsLife, r.Settings.TagTTL+r.Settings.StaleIfError) {
			return before, nil
		}
	}
	return list{}, err
}

// Limits of what is taken from an upstream. A list that ended early would be taken
// for the whole.
const (
	maxTags      = 100_000 // of a repository
	maxReferrers = 1000    // of a subject
)

// Tags is a page of what the upstream lists.
func (r *Repository) Tags(ctx context.Context, p meta.Page) ([]string, error) {
	l, err := r.listOf(ctx, "tags", func(ctx context.Context) (list, error) {
		tags, err := r.client.AllTags(ctx, r.Repo.Name, maxTags)
		slices.Sort(tags)
		return list{tags: slices.Compact(tags)}, err
	})
	if err != nil {
		return nil, err
	}
	from, found := slices.BinarySearch(l.tags, p.After)
	if found {
		from++
	}
	return l.tags[from:min(from+p.Size, len(l.tags))], nil
}

// Referrers are all that the upstream lists of a subject.
func (r *Repository) Referrers(ctx context.Context, subject oci.Digest) ([]meta.Referrer, error) {
	l, err := r.listOf(ctx, "referrers "+subject.String(), func(ctx context.Context) (list, error) {
		found, err := r.client.Referrers(ctx, r.Repo.Name, subject, maxReferrers)
		rows := make([]meta.Referrer, len(found))
		for i, f := range found {
			rows[i] = meta.Referrer{Digest: f.Digest, MediaType: f.MediaType, Size: f.Size, ArtifactType: f.ArtifactType, Annotations: f.Annotations}
		}
		return list{referrers: rows}, err
	})
	switch chain.OutcomeOf(err) {
	case chain.NotHere:
		return nil, nil // an unknown subject has no referrers: that is not an error
	case chain.Denied:
		return nil, r.refusedReferrers(ctx, subject, err)
	default:
		return l.referrers, err
	}
}

// refusedReferrers makes an outage of the refusal to list them where the upstream gives
// the subject: as an empty list it would make an image look unsigned (contract row T7). An
// upstream that refuses both says the same of referrers as of all else.
func (r *Repository) refusedReferrers(ctx context.Context, subject oci.Digest, err error) error {
	_, missing := r.StoredManifest(ctx, subject)
	if notStored(missing) {
		_, missing = r.Manifest(ctx, subject)
	}
	switch {
	case chain.OutcomeOf(missing) == chain.Outage:
		return missing // whether it gives the subject is not known
	case missing != nil:
		return err
	}
	return upstream.Withheld(err, "refuses to list what refers to a manifest that it has, such as signatures")
}
