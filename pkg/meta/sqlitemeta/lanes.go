package sqlitemeta

import (
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// deployment is the lane of work without a tenant: the janitor's and the
// operator's.
const deployment tenant.ID = 0

// lanes are the jobs that wait for the writer, in one queue per tenant. Lanes with
// work share the writer's time: the lane that used the least is next, so that a
// small write waits for one job of another tenant's long queue and not for the
// whole queue.
type lanes struct {
	mu      sync.Mutex
	all     map[tenant.ID]*lane
	waiting int
	clock   time.Duration // used time of the lane that was served last
	ready   chan struct{} // holds a token while something may wait

	// The lane that was served last, and the one before it: others are active.
	last, other     *lane
	lastAt, otherAt time.Time
}

type lane struct {
	jobs []*job
	used time.Duration // of the writer, on the clock of all lanes
	rest time.Time     // until then it does nothing
}

// While others are active, a lane rests after a step, or what was as long, restFactor times as long as
// the step took: their next write most likely finds the writer free.
const (
	restFactor  = 4
	maxRest     = 200 * time.Millisecond
	activeUntil = 200 * time.Millisecond // after its last write
)

// maxLanes is how many lanes are remembered; beyond it those without work and
// without debt go.
const maxLanes = 1024

func newLanes() *lanes {
	return &lanes{all: map[tenant.ID]*lane{}, ready: make(chan struct{}, 1)}
}

// push adds a job at the end of its tenant's lane. An idle lane does not accumulate
// time.
func (l *lanes) push(owner tenant.ID, j *job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.all[owner]
	if q == nil {
		l.forget()
		q = &lane{}
		l.all[owner] = q
	}
	if len(q.jobs) == 0 {
		q.used = max(q.used, l.clock)
	}
	j.lane = q
	q.jobs = append(q.jobs, j)
	l.waiting++
	l.wake()
}

func (l *lanes) wake() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// wakeWaiting lets the writer look again, also for those whose rest may be over.
func (l *lanes) wakeWaiting() {
	if l.len() > 0 {
		l.wake()
	}
}

func (l *lanes) forget() {
	if len(l.all) < maxLanes {
		return
	}
	for owner, q := range l.all {
		if len(q.jobs) == 0 && q.used <= l.clock {
			delete(l.all, owner)
		}
	}
}

// pop takes the next job whose caller still waits, unless fits refuses it. Without
// a job it returns the time until there may be one; 0 is unknown.
func (l *lanes) pop(fits func(*job) bool) (*job, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		next, rest := l.next(time.Now())
		if next == nil {
			return nil, rest
		}
		j := next.jobs[0]
		if !j.claimed.Load() && !fits(j) {
			l.wake() // it is there still, for the next group
			return nil, 0
		}
		next.jobs[0] = nil
		next.jobs = next.jobs[1:]
		l.waiting--
		if j.claimed.CompareAndSwap(false, true) {
			l.clock = max(l.clock, next.used)
			if l.waiting > 0 {
				l.wake()
			}
			return j, 0
		}
	}
}

// next is the lane with work that used the least, except resting ones, or the time
// until the first of these ends its rest.
func (l *lanes) next(now time.Time) (*lane, time.Duration) {
	var next *lane
	var rest time.Duration
	for _, q := range l.all {
		if len(q.jobs) == 0 {
			continue
		}
		if left := q.rest.Sub(now); left > 0 {
			if rest == 0 || left < rest {
				rest = left
			}
			continue
		}
		if next == nil || q.used < next.used {
			next = q
		}
	}
	return next, rest
}

// charge records how long a job held the writer, with its commit if it was alone.
func (l *lanes) charge(j *job, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, q := time.Now(), j.lane
	q.used += took
	if l.last != q {
		l.other, l.otherAt = l.last, l.lastAt
	}
	l.last, l.lastAt = q, now
	if (j.alone || took > maxGroupTime) && (l.waiting > len(q.jobs) || l.other != nil && now.Sub(l.otherAt) < activeUntil) {
		q.rest = now.Add(min(restFactor*took, maxRest))
	}
}

func (l *lanes) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting
}

// oldest is when the longest waiting job began to wait; zero if no job waits.
func (l *lanes) oldest() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	var since time.Time
	for _, q := range l.all {
		for _, j := range q.jobs {
			if j.claimed.Load() {
				continue
			}
			if since.IsZero() || j.since.Before(since) {
				since = j.since
			}
			break
		}
	}
	return since
}
