package cacheroom

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
)

// Level is a measurement.
type Level struct {
	meta.CacheSize
	Bound int64 // math.MaxInt64 = none
}

// String is for operators.
func (l Level) String() string {
	if l.Bound == math.MaxInt64 {
		return humanize.IBytes(uint64(max(l.Total(), 0))) + " cached, without a bound"
	}
	return fmt.Sprintf("%s of %s cached, %s of it evicted and not deleted yet",
		humanize.IBytes(uint64(max(l.Total(), 0))), humanize.IBytes(uint64(max(l.Bound, 0))), humanize.IBytes(uint64(max(l.Evicted, 0))))
}

// Recent is a measurement that may be a second old.
func (r *Room) Recent(ctx context.Context) (Level, error) { return r.measure(ctx, freshness) }

// tellFor is how long Check fails after a blob was not stored.
const tellFor = time.Minute

// Check describes the level, and fails if blobs were not stored lately for lack of room.
func (r *Room) Check(ctx context.Context) (string, error) {
	l, err := r.Recent(ctx)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	lately := r.counts.Refused > 0 && time.Since(r.refused) < tellFor
	r.mu.Unlock()
	if lately {
		return l.String(), errors.New("the cache has no room: blobs are passed through and not stored; raise cache_max, or give the disk more space")
	}
	return l.String(), nil
}

// measure returns the last measurement, or a new one if that is older than age.
func (r *Room) measure(ctx context.Context, age time.Duration) (Level, error) {
	r.mu.Lock()
	if l := r.level; !r.measured.IsZero() && time.Since(r.measured) < age {
		r.mu.Unlock()
		return l, nil
	}
	began, before := time.Now(), r.stored
	r.mu.Unlock()
	size, err := r.Meta.CacheSize(ctx)
	if err != nil {
		return Level{}, err
	}
	bound, err := r.bound(ctx, size)
	if err != nil {
		return Level{}, err
	}
	l := Level{size, bound}
	r.mu.Lock()
	defer r.mu.Unlock()
	if began.After(r.measured) { // else a later one ended first
		r.level, r.measured = l, began
		r.stored = max(r.stored-before, 0)
	}
	return l, nil
}

// Parts of the disk that is left for cached content, in sixteenths: the rest is for
// blobs in flight and pushes, until the janitor has made room.
const (
	shareByDefault = 14
	shareAtMost    = 15
)

// bound is the most that the caches may take now. Pushes come first: what they take
// of the disk is lost to the caches.
func (r *Room) bound(ctx context.Context, size meta.CacheSize) (int64, error) {
	most := int64(math.MaxInt64)
	if r.Max > 0 {
		most = r.Max
	}
	m, ends := r.Blobs.(blob.Measurer)
	if !ends {
		return most, nil
	}
	space, err := m.Space(ctx)
	if err != nil {
		return 0, err
	}
	left := max(space.Free-space.Keep+size.Total(), 0)
	if r.Max > 0 {
		return min(most, left/16*shareAtMost), nil
	}
	return left / 16 * shareByDefault, nil
}
