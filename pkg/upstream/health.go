package upstream

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Status is what this process last saw of an upstream.
type Status struct {
	State       string    // of the circuit breaker: "closed", "half-open" or "open"
	Health      Health    // after the last call
	SucceededAt time.Time // the last response, a "not here" included; zero for none
	FailedAt    time.Time // the last denial or outage; zero for none
	Failure     string    // its message; safe for users
	RateLimit   RateLimit // that of which the smallest share is left

	// CredentialUnused says that the upstream never asked for the configured credential,
	// which was not sent.
	CredentialUnused bool
}

// Health is an upstream's state in one word.
type Health string

// The states. Failing is an upstream that responds with errors, or with something
// unusable.
const (
	NeverAsked             Health = ""
	Healthy                Health = "OK"
	Unreachable            Health = "UNREACHABLE"
	Failing                Health = "FAILING"
	RefusedByConfiguration Health = "REFUSED_BY_CONFIGURATION"
	AccessDenied           Health = "DENIED"
	RateLimitReached       Health = "RATE_LIMITED"
)

// health is the state of an upstream after a call with this error.
func (e *Error) health() Health {
	switch {
	case e.Refused:
		return RefusedByConfiguration
	case e.Outcome == Denied:
		return AccessDenied
	case e.RateLimited:
		return RateLimitReached
	case e.silent:
		return Unreachable
	default:
		return Failing
	}
}

// Status returns what is known now.
func (c *Client) Status() Status {
	c.health.mu.Lock()
	s := c.health.status
	c.health.mu.Unlock()
	s.State = c.circuit.State().String()
	s.RateLimit = c.budget.least()
	s.CredentialUnused = s.Health == Healthy && c.auth.unused()
	return c.withAlternatives(s)
}

// health is a client's record of how its calls ended.
type health struct {
	mu     sync.Mutex
	status Status
	quiet  deadlines // until then the upstream refuses requests of the kind
}

// saw records how a call ended; nil for success.
func (h *health) saw(e *Error, kind string, now time.Time) {
	if e != nil && e.RateLimited {
		h.quiet.extend(kind, now.Add(e.RetryAfter))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case e == nil || e.Outcome == NotHere:
		h.status.SucceededAt, h.status.Health = now, Healthy
		return
	case e.left:
		return
	}
	h.status.FailedAt, h.status.Failure = now, e.Message
	if !e.paused { // the health is that of the failures before
		h.status.Health = e.health()
	}
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3), seconds or a date; 0 for
// none, or one in the past.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
