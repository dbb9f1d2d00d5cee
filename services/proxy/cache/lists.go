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
	tags      []string
	referrers []meta.Referrer
	said      time.Time
}

// size is about the memory that the list takes.
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

// listOf returns a fresh list from the cache, else the upstream's present list, or,
// during an outage, its last one.
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

// Limits of an upstream's lists. Longer ones are errors: a truncated list would
// look complete.
const (
	maxTags      = 100_000 // of a repository
	maxReferrers = 1000    // of a subject
)

// Tags is a page of the upstream's tags.
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

// Referrers are all referrers of a subject at the upstream.
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
		return nil, nil // an unknown subject has no referrers
	case chain.Denied:
		return nil, r.refusedReferrers(ctx, subject, err)
	default:
		return l.referrers, err
	}
}

// refusedReferrers turns a refused list into an outage if the upstream serves the subject:
// an empty list would make an image look unsigned (contract row T7). If the upstream
// refuses both, err stays a denial.
func (r *Repository) refusedReferrers(ctx context.Context, subject oci.Digest, err error) error {
	_, missing := r.StoredManifest(ctx, subject)
	if notStored(missing) {
		_, missing = r.Manifest(ctx, subject)
	}
	switch {
	case chain.OutcomeOf(missing) == chain.Outage:
		return missing // whether it serves the subject is unknown
	case missing != nil:
		return err
	}
	return upstream.Withheld(err, "refuses to list what refers to a manifest that it has, such as signatures")
}
