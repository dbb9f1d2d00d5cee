package web

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// defaultPauses is PauseLimits.Tenant unless it is given.
const defaultPauses = 64

// PauseLimits is how many transfers may pause at once. Beyond it, those that have
// paused for longest end. The zero value means the defaults.
type PauseLimits struct {
	Tenant int // of one tenant; default 64
	All    int // of the process; default 16 times as many
}

// Pauses are the paused transfers of a process. It is safe for concurrent use.
type Pauses struct {
	limits PauseLimits
	cut    *prometheus.CounterVec

	mu    sync.Mutex
	order []*clock // of all tenants, the one that has paused for longest first
	each  map[int64]int
}

// NewPauses makes Pauses without transfers. reg may be nil; it panics when reg has their
// metrics already.
func NewPauses(l PauseLimits, reg prometheus.Registerer) *Pauses {
	l.Tenant = cmp.Or(l.Tenant, defaultPauses)
	l.All = cmp.Or(l.All, 16*l.Tenant)
	p := &Pauses{limits: l, each: map[int64]int{}, cut: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "berth_slow_requests_ended_total",
		Help: "Requests that were ended because their client stood still, by reason: too_slow, or too_many that pause.",
	}, []string{"reason"})}
	if reg != nil {
		reg.MustRegister(p.cut, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_paused_transfers",
			Help: "Uploads and downloads whose client stands still for longer than other requests may.",
		}, func() float64 { return float64(p.Count()) }))
	}
	return p
}

// Count is how many transfers pause now.
func (p *Pauses) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.order)
}

// Relieve ends the transfer of any tenant that has paused for longest, to free its
// connection. It reports whether there was one.
func (p *Pauses) Relieve() bool {
	p.mu.Lock()
	var longest *clock
	if len(p.order) > 0 {
		longest = p.order[0]
	}
	p.mu.Unlock()
	if longest == nil {
		return false
	}
	longest.end(errTooMany)
	return true
}

// add adds a transfer, and returns the one that must end for it.
func (p *Pauses) add(c *clock) *clock {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.order = append(p.order, c)
	p.each[c.tenant]++
	switch {
	case p.each[c.tenant] > p.limits.Tenant:
		return p.order[slices.IndexFunc(p.order, func(o *clock) bool { return o.tenant == c.tenant })]
	case len(p.order) > p.limits.All:
		return p.order[0]
	}
	return nil
}

func (p *Pauses) remove(c *clock) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.order, c); i >= 0 {
		p.order = slices.Delete(p.order, i, i+1)
		if p.each[c.tenant]--; p.each[c.tenant] == 0 {
			delete(p.each, c.tenant)
		}
	}
}

// ended counts a request that was ended.
func (p *Pauses) ended(why error) {
	reason := "too_slow"
	if errors.Is(why, errTooMany) {
		reason = "too_many"
	}
	p.cut.WithLabelValues(reason).Inc()
}
