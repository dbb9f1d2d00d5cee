package cacheroom

import (
	"context"
	"math"
	"sync"
	"time"
)

// Plan is what the janitor has to do.
type Plan struct {
	Level
	Keep int64 // the bytes that the caches are to be trimmed to; -1 = nothing is to be evicted
}

// headroom is the divisor for the part of the target that eviction keeps free.
const headroom = 16

// Plan measures, and decides how much the caches may keep.
func (r *Room) Plan(ctx context.Context) (Plan, error) {
	l, err := r.measure(ctx, 0)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Level: l, Keep: -1}
	if l.Target == math.MaxInt64 {
		return p, nil
	}
	free := r.free(l.Target)
	r.mu.Lock()
	need := r.need
	r.need = 0
	r.mu.Unlock()
	if need <= l.Target/largest {
		free = max(free, need)
	}
	// Staged bytes take room, too: those of fetches, and what a killed process left.
	room := l.Target - l.Staged - r.beside(l)
	if l.Cached > room-free/2 || need > 0 && l.Cached > room-free {
		p.Keep = max(room-free, 0)
	}
	return p, nil
}

// reaction is how long the janitor takes to evict, about.
const reaction = time.Second

// free is how much eviction keeps free. Evicted bytes stay for a while: by then as many
// will be wanted as lately.
func (r *Room) free(target int64) int64 {
	return min(max(target/headroom, r.demand.within(r.Delay+reaction)), target/4)
}

// Want asks the janitor of this process to make room for n bytes.
func (r *Room) Want(n int64) {
	r.mu.Lock()
	r.need = max(r.need, n)
	r.mu.Unlock()
	select {
	case r.wanted <- struct{}{}:
	default:
	}
}

// Wanted receives when room is wanted.
func (r *Room) Wanted() <-chan struct{} { return r.wanted }

// Turnover is about how long the cache takes to store as many bytes as its bound: the
// order of pulls need not be known much finer. It is an hour where the cache is not full.
func (r *Room) Turnover() time.Duration {
	const most = time.Hour
	r.mu.Lock()
	l := r.level
	r.mu.Unlock()
	if l.Target == math.MaxInt64 || l.Total() < l.Target/2 {
		return most
	}
	rate := r.demand.within(time.Second)
	if rate <= l.Target/int64(most/time.Second) {
		return most
	}
	return time.Duration(l.Target/rate) * time.Second
}

// demand is how many bytes were to be stored lately.
type demand struct {
	mu    sync.Mutex
	bytes float64 // of about the last demandTime
	at    time.Time
}

// demandTime is the time in which demand is forgotten.
const demandTime = time.Minute

func (d *demand) add(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.decay()
	d.bytes += float64(n)
}

// decay forgets. The caller holds mu.
func (d *demand) decay() {
	now := time.Now()
	if !d.at.IsZero() {
		d.bytes *= math.Exp(-float64(now.Sub(d.at)) / float64(demandTime))
	}
	d.at = now
}

// within is how many bytes are to be expected within a time.
func (d *demand) within(t time.Duration) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.decay()
	return int64(d.bytes * float64(t) / float64(demandTime))
}
