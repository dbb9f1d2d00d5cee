package front

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/pkg/tenant"
)

// maxOwedEgress is how long a caller or tenant may owe for what was sent to it before more
// is refused: within that the client only waits for its bytes.
const maxOwedEgress = 10 * time.Second

// RateConfig are the dependencies of Rates.
type RateConfig struct {
	Deployment tenant.RateLimits // of tenants that have none of their own
	Limits     *limit.Rates
	Processes  func() int64 // at work; they share what can be done at once
	Metrics    prometheus.Registerer
}

// Rates holds tenants and their callers to tenant.RateLimits. The nil *Rates holds none.
// Safe for concurrent use.
type Rates struct {
	RateConfig
	uploads *limit.Slots
	refused *prometheus.CounterVec
}

// NewRates makes Rates. It panics when their metrics are registered already.
func NewRates(c RateConfig) *Rates {
	r := &Rates{RateConfig: c, uploads: limit.NewSlots(), refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "berth_rate_limited_total",
		Help: "Requests that were refused by a rate limit, by what it bounds (requests, egress, uploads), and for whom (tenant, caller).",
	}, []string{"bound", "of"})}
	c.Metrics.MustRegister(r.refused)
	return r
}

// The names of what is bounded, in keys and metrics.
const (
	boundRequests = "requests"
	boundEgress   = "egress"
	boundUploads  = "uploads"
)

// bound is one limit of a call.
type bound struct {
	of   string // tenant or caller
	name string // of the caller
	tenant.RateLimit
}

// tenantBound is what binds all callers of the call's tenant.
func (s *Rates) tenantBound(c *Call) bound {
	return bound{"tenant", "", c.Site.RateLimits.Tenant.Or(s.Deployment.Tenant)}
}

// callerBound is what binds the call's caller.
func (s *Rates) callerBound(ctx context.Context, c *Call) bound {
	b := bound{"caller", c.Principal.Name, c.Site.RateLimits.Caller.Or(s.Deployment.Caller)}
	if !b.Unlimited() && (c.Principal.Anonymous() || c.Site.IsMirror()) {
		b.name = "address:" + web.Network(web.ClientAddr(ctx)).String() // no account is called so
	}
	return b
}

func (b bound) key(kind string, t tenant.ID) limit.Key {
	return limit.Key{Kind: b.of + " " + kind, Tenant: t, Name: b.name}
}

// checkTenant refuses a request of a tenant whose callers have used up its rate, before it
// costs anything. It counts nothing: only callers of the tenant use up its rate, and who the
// caller is is not known yet.
func (s *Rates) checkTenant(c *Call) error {
	if s == nil {
		return nil
	}
	b := s.tenantBound(c)
	if b.Requests <= 0 {
		return nil
	}
	return s.refuseRequest(c, b, s.Limits.Wait(b.key(boundRequests, c.Site.Tenant), b.Requests, 1))
}

// admit counts a request, or refuses it. The response is slowed to what the caller and the
// tenant may be sent. What strangers ask counts for their address alone: they must not use up
// the rate of a tenant in which they have no right.
func (s *Rates) admit(ctx context.Context, c *Call, stranger bool) error {
	if s == nil {
		return nil
	}
	caller, its := s.callerBound(ctx, c), s.tenantBound(c)
	if err := s.take(c, caller); err != nil || stranger {
		return err
	}
	if err := s.take(c, its); err != nil {
		return err
	}
	s.observe(ctx, c)
	for _, b := range c.egress {
		if owed := s.Limits.Wait(b.key(boundEgress, c.Site.Tenant), b.Egress, 0); owed > maxOwedEgress {
			return s.refuse(c, b, boundEgress, owed, "%s may be sent %d bytes a second, and more was; retry later", b.Egress)
		}
	}
	return nil
}

// isStranger says whether nothing is known of the caller, and it has no right to what it asks
// for.
func (c *Call) isStranger() bool {
	return c.Principal.Anonymous() && c.Rights.Allowed(c.Route.Name) == 0
}

// observe finds what bounds the bytes that are sent for the call.
func (s *Rates) observe(ctx context.Context, c *Call) {
	if s == nil {
		return
	}
	c.rates = s
	for _, b := range [...]bound{s.tenantBound(c), s.callerBound(ctx, c)} {
		if b.Egress > 0 {
			c.egress = append(c.egress, b)
		}
	}
}

// take counts a request for one bound.
func (s *Rates) take(c *Call, b bound) error {
	if b.Requests <= 0 {
		return nil
	}
	return s.refuseRequest(c, b, s.Limits.Take(b.key(boundRequests, c.Site.Tenant), b.Requests, 1))
}

func (s *Rates) refuseRequest(c *Call, b bound, wait time.Duration) error {
	if wait == 0 {
		return nil
	}
	return s.refuse(c, b, boundRequests, wait, "%s may send %d requests a second; retry later", b.Requests)
}

func (s *Rates) refuse(c *Call, b bound, kind string, wait time.Duration, text string, most int64) error {
	s.refused.WithLabelValues(kind, b.of).Inc()
	who := "tenant " + c.Site.TenantSlug
	if b.of != "tenant" {
		who = "a caller of " + who
	}
	return fault.New(fault.TooMany, fault.TooManyRequests, text, who, most).WithRetryAfter(wait)
}

// spendEgress counts bytes that are sent for the call, and returns how long no more must be.
func (c *Call) spendEgress(n int64) time.Duration {
	var wait time.Duration
	for _, b := range c.egress {
		wait = max(wait, c.rates.Limits.Spend(b.key(boundEgress, c.Site.Tenant), b.Egress, n))
	}
	return wait
}

// beginUpload waits for room for a body of a blob; call the function when it was received.
func (s *Rates) beginUpload(r *http.Request, c *Call) (func(), error) {
	isBody := r.ContentLength != 0 && (c.Route.Kind == ocihttp.UploadStart || c.Route.Kind == ocihttp.Upload)
	if s == nil || !isBody {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), gateTimeout)
	defer cancel()
	var ends []func()
	end := func() {
		for _, end := range ends {
			end()
		}
	}
	for _, b := range [...]bound{s.callerBound(ctx, c), s.tenantBound(c)} { // a caller waits for its own, and keeps none from others
		if b.Uploads <= 0 {
			continue
		}
		here := (b.Uploads + s.Processes() - 1) / s.Processes()
		one, err := s.uploads.Acquire(ctx, b.key(boundUploads, c.Site.Tenant), here)
		if err != nil {
			end()
			return nil, s.refuse(c, b, boundUploads, callRetry, "%s may send %d blobs at once; retry later", b.Uploads)
		}
		ends = append(ends, one)
	}
	return end, nil
}
