package conns

import "time"

// How long tests have to wait, by the clock that they give to Reap.
const (
	NextRequest = nextRequest
	StuckTime   = stuckTime
)

// Reap is what Set.Run does every second.
func (p *Pool) Reap(now time.Time) { p.reap(now) }
