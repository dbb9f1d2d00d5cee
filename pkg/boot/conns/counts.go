package conns

import (
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// refusedDescriptors is the reason when the process has no file descriptor left.
const refusedDescriptors = "descriptors"

type countKey struct{ listener, reason string }

// counts are the metrics of a pool. The pool's lock guards them.
type counts struct {
	open    map[string]int
	turned  map[countKey]int64 // refused
	removed map[countKey]int64 // closed by the pool
}

// add creates the series of a listener, so that they exist before the first event.
func (c *counts) add(listener string) {
	if c.open == nil {
		c.open, c.turned, c.removed = map[string]int{}, map[countKey]int64{}, map[countKey]int64{}
	}
	c.open[listener] += 0
	for _, reason := range []string{refusedFull, refusedAddress, refusedDescriptors} {
		c.turned[countKey{listener, reason}] += 0
	}
	for _, reason := range []string{closedRoom, closedSilent, closedIdle} {
		c.removed[countKey{listener, reason}] += 0
	}
}

func (c *counts) opened(listener string, n int)   { c.open[listener] += n }
func (c *counts) refused(listener, reason string) { c.turned[countKey{listener, reason}]++ }
func (c *counts) closed(listener, reason string)  { c.removed[countKey{listener, reason}]++ }

// figures are the numbers of open and of refused connections.
func (p *Pool) figures() (int, map[countKey]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns), maps.Clone(p.counts.turned)
}

// The metrics of a Set, which is a prometheus.Collector.
var (
	openDesc = prometheus.NewDesc("berth_connections_open",
		"Connections of clients, by listener.", []string{"listener"}, nil)
	limitDesc = prometheus.NewDesc("berth_connections_limit",
		"How many connections there may be; data and internal share one limit, which is max_connections.", []string{"listener"}, nil)
	refusedDesc = prometheus.NewDesc("berth_connections_refused_total",
		"Connections that were not taken, by reason: full, address or its network has more than its share, no file descriptors left.", []string{"listener", "reason"}, nil)
	closedDesc = prometheus.NewDesc("berth_connections_closed_total",
		"Connections that were closed by the limits, by reason: room for another, silent without a request, idle since the last one.", []string{"listener", "reason"}, nil)
)

// Describe is for prometheus.Collector.
func (s *Set) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{openDesc, limitDesc, refusedDesc, closedDesc} {
		ch <- d
	}
}

// Collect is for prometheus.Collector.
func (s *Set) Collect(ch chan<- prometheus.Metric) {
	for _, p := range s.all() {
		p.mu.Lock()
		open, turned, removed := maps.Clone(p.counts.open), maps.Clone(p.counts.turned), maps.Clone(p.counts.removed)
		p.mu.Unlock()
		for listener, n := range open {
			ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(n), listener)
			ch <- prometheus.MustNewConstMetric(limitDesc, prometheus.GaugeValue, float64(p.Max), listener)
		}
		for key, n := range turned {
			ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(n), key.listener, key.reason)
		}
		for key, n := range removed {
			ch <- prometheus.MustNewConstMetric(closedDesc, prometheus.CounterValue, float64(n), key.listener, key.reason)
		}
	}
}

// How long a connection may be open without a request. Servers have similar limits
// of their own; these apply to all.
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

// overdue is the reason to close the connection; "" for none.
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
