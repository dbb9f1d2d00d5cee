package conns

import "time"

// How long a connection may be there without a request. Servers have bounds of their
// own for most of it; these hold for all.
const (
	nextRequest  = 30 * time.Second  // also the first
	proxyRequest = 130 * time.Second // that of a trusted proxy, which keeps connections for many clients, except for the first
	headerTime   = 10 * time.Second  // more, where a request has begun
	stuckTime    = 10 * time.Second  // with a request that should have ended, whatever the others do
)

// reap closes the connections that have been without a request for too long.
func (p *Pool) reap(now time.Time) {
	type old struct {
		conn *Conn
		why  string
	}
	var overdue []old
	p.mu.Lock()
	for c := range p.conns {
		if why := c.overdue(now); why != "" {
			overdue = append(overdue, old{c, why})
			p.counts.closed(c.listener, why)
		}
	}
	p.mu.Unlock()
	for _, o := range overdue {
		if o.why == closedIdle && (o.conn.mayTakeItsTime() || !hasRest(o.conn.TCPConn)) {
			_ = o.conn.Close() // it is of no more use
		} else {
			o.conn.cut() // the end would wait behind what the client does not take
		}
	}
}

// overdue says why the connection is to be closed; "" where it is not.
func (c *Conn) overdue(now time.Time) string {
	phase, since := c.state(now)
	limit, why := nextRequest, closedSilent
	switch phase {
	case busy: // a transfer may pause, but not keep others here that cannot end
		if c.stuckFor(now) < stuckTime {
			return ""
		}
		return closedIdle
	case stalled: // each has its bound; of many on one connection, in turns, it would have none
		if since = c.slowSince(); since.IsZero() {
			return ""
		}
	}
	if c.hadRequest() {
		why = closedIdle
		if c.IsProxy() {
			limit = proxyRequest
		}
		if phase == header {
			limit += headerTime
		}
	}
	if now.Sub(since) < limit {
		return ""
	}
	return why
}
