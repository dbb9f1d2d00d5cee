package sqlitemeta

import (
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// deployment is the lane of what is done for no tenant: the janitor's work and the
// operator's.
const deployment tenant.ID = 0

// lanes are the jobs that wait for the writer, in a queue for each tenant. The
// writer's time is shared between those that have work: next is always the lane
// that was given the least, so that a tenant's single small write waits for one
// job of another's long queue and not for the queue.
type lanes struct {
	mu      sync.Mutex
	all     map[tenant.ID]*lane
	waiting int
	clock   time.Duration // what the lane had been given that was served last
	ready   chan struct{} // holds a token while something may wait
}

type lane struct {
	jobs []*job
	used time.Duration // of the writer, on the clock of all lanes
}

// maxLanes is how many lanes are remembered; beyond it those without work and
// without debt go.
const maxLanes = 1024

func newLanes() *lanes {
	return &lanes{all: map[tenant.ID]*lane{}, ready: make(chan struct{}, 1)}
}

// push adds a job at the end of its tenant's lane. A lane that had no work does
// not save up time for later.
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

// pop takes the next job that its caller still waits for, unless fits refuses
// it; nil where there is none.
func (l *lanes) pop(fits func(*job) bool) *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		var next *lane
		for _, q := range l.all {
			if len(q.jobs) > 0 && (next == nil || q.used < next.used) {
				next = q
			}
		}
		if next == nil {
			return nil
		}
		j := next.jobs[0]
		if !j.claimed.Load() && !fits(j) {
			l.wake() // it is there still, for the next group
			return nil
		}
		next.jobs[0] = nil
		next.jobs = next.jobs[1:]
		l.waiting--
		if j.claimed.CompareAndSwap(false, true) {
			l.clock = max(l.clock, next.used)
			if l.waiting > 0 {
				l.wake()
			}
			return j
		}
	}
}

// charge notes how long a job held the writer.
func (l *lanes) charge(j *job, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	j.lane.used += took
}

func (l *lanes) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting
}

// oldest is since when the job waits that has waited longest; zero where none does.
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
