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
	// Bound is the most that the caches may take; math.MaxInt64 = none.
	Bound int64
	// Target is what new content has to fit into, and what eviction works towards. It is
	// below Bound where pushes have left less of the disk than is stored: Bound falls to it
	// as what is stored is deleted, and never rises above it.
	Target int64
	// Aside is how much of the disk temporary files may take besides Target. What they take
	// beyond that counts like cached content.
	Aside int64
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
	target, aside, err := r.target(ctx, size)
	if err != nil {
		return Level{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if began.After(r.measured) { // else a later one ended first
		bound := r.most()
		if !r.measured.IsZero() {
			bound = r.level.Bound
		}
		r.level, r.measured = Level{CacheSize: size, Target: target, Aside: aside}, began
		r.stored = max(r.stored-before, 0)
		r.level.Bound = max(target, min(bound, r.held()))
	}
	return r.level, nil
}

// most is what the operator allows at most.
func (r *Room) most() int64 {
	if r.Max > 0 {
		return r.Max
	}
	return math.MaxInt64
}

// Parts of the disk that is left for cached content, in sixteenths: the rest is for
// blobs in flight and pushes, until the janitor has made room.
const (
	shareByDefault = 14
	shareAtMost    = 15
)

// target returns Level.Target and Level.Aside. Pushes come first: what they take of the disk
// is lost to the caches. What fetches are writing is not, or each fetch would evict content
// for its temporary file.
func (r *Room) target(ctx context.Context, size meta.CacheSize) (int64, int64, error) {
	m, ends := r.Blobs.(blob.Measurer)
	if !ends {
		return r.most(), math.MaxInt64, nil
	}
	space, err := m.Space(ctx)
	if err != nil {
		return 0, 0, err
	}
	growing := max(r.written.Load()-size.Staged, 0) // no row counts it yet
	left := max(space.Free-space.Keep+size.Total()+growing+r.inFlight.Load(), 0)
	target := left / 16 * shareByDefault
	if r.Max > 0 {
		target = min(r.Max, left/16*shareAtMost)
	}
	return target, (left - target) / 2, nil
}
