package upstream

import (
	"net/http"
	"strconv"
	"strings"
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
	RateLimit   RateLimit

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

// RateLimit is the rate limit that an upstream announced, as Docker Hub does. The
// zero value means none.
type RateLimit struct {
	Limit     int64
	Remaining int64
	Window    time.Duration // that Limit is for; 0 = not said
}

// Status returns what is known now.
func (c *Client) Status() Status {
	c.health.mu.Lock()
	s := c.health.status
	c.health.mu.Unlock()
	s.State = c.circuit.State().String()
	s.CredentialUnused = s.Health == Healthy && c.auth.unused()
	return s
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

// sawLimits records the limits in a response header.
func (h *health) sawLimits(c *Client, header http.Header) {
	limit, window, ok := parseRateLimit(header.Get("Ratelimit-Limit"))
	if !ok {
		return
	}
	remaining, _, ok := parseRateLimit(header.Get("Ratelimit-Remaining"))
	if !ok {
		return
	}
	h.mu.Lock()
	h.status.RateLimit = RateLimit{Limit: limit, Remaining: remaining, Window: window}
	h.mu.Unlock()
	c.series.remaining(remaining)
}

// parseRateLimit reads "100;w=21600", a count with the seconds it is for, as
// Docker Hub sends it.
func parseRateLimit(s string) (int64, time.Duration, bool) {
	count, params, _ := strings.Cut(s, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(count), 10, 32)
	if err != nil {
		return 0, 0, false
	}
	for p := range strings.SplitSeq(params, ";") {
		if w, ok := strings.CutPrefix(strings.TrimSpace(p), "w="); ok {
			if seconds, err := strconv.ParseUint(w, 10, 32); err == nil {
				return int64(n), time.Duration(seconds) * time.Second, true
			}
		}
	}
	return int64(n), 0, true
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
