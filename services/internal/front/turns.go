package front

import (
	"context"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	// turnTime is how long a request keeps its turn at most. One that takes longer
	// waits for its client, an upstream or a disk, and others may go on meanwhile.
	turnTime = 20 * time.Millisecond
	// aloneAfter is how long no other tenant asked when a tenant is taken to be alone.
	aloneAfter = 10 * time.Second
	// turnPatience is how long a request waits for its turn.
	turnPatience = 30 * time.Second
)

// Turns bound how many requests a process works on at a time while more than one
// tenant asks, so that a tenant with many connections takes little of the time of
// one with few. A tenant that is alone is not bounded. The nil *Turns bounds
// nothing. Safe for concurrent use.
type Turns struct {
	gate *fairgate.Gate[tenant.ID]

	mu          sync.Mutex
	last, other asked // the last request, and the last one of another tenant
}

type asked struct {
	by tenant.ID
	at time.Time
}

// NewTurns bounds the requests that are worked on to n at a time, of which one
// tenant has n-1 at most and one at least.
func NewTurns(n int) *Turns {
	return &Turns{gate: fairgate.New[tenant.ID](fairgate.Options{
		Capacity: int64(n), Most: max(int64(n)-1, 1), Assured: 1, Beyond: int64(n),
	})}
}

// Waiting is how many requests wait for their turn now.
func (t *Turns) Waiting() int { return t.gate.Stats().Waiting }

// turn is one request's; end it. The zero turn is that of a tenant that is alone.
type turn struct {
	of    *Turns
	by    tenant.ID
	timer *time.Timer
}

// begin waits for a turn of the tenant.
func (t *Turns) begin(ctx context.Context, by tenant.ID) (turn, error) {
	if t == nil || t.alone(by, time.Now()) {
		return turn{}, nil
	}
	if !t.gate.TryAcquire(by, 1) {
		ctx, cancel := context.WithTimeout(ctx, turnPatience)
		defer cancel()
		if err := t.gate.Acquire(ctx, by, 1); err != nil {
			return turn{}, fault.Wrap(err, fault.TooMany, fault.TooManyRequests, "this process has too many requests of this tenant under way, try again")
		}
	}
	return turn{t, by, time.AfterFunc(turnTime, func() { t.gate.Release(by, 1) })}, nil
}

// end gives the turn back, if that was not done when its time was over.
func (t turn) end() {
	if t.timer != nil && t.timer.Stop() {
		t.of.gate.Release(t.by, 1)
	}
}

// alone notes a request, and says whether no other tenant asked lately.
func (t *Turns) alone(by tenant.ID, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last.by != by {
		t.other = t.last
	}
	t.last = asked{by, now}
	return now.Sub(t.other.at) > aloneAfter
}
