package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// Outcome classifies an upstream's response.
type Outcome string

// The outcomes. Only NotHere is an authoritative absence.
const (
	Found   Outcome = "found"
	NotHere Outcome = "not_here" // the registry itself said 404
	Denied  Outcome = "denied"   // 401 or 403, by the registry or its token endpoint
	Outage  Outcome = "outage"   // all else
)

// OutcomeOf classifies the error of a call; an error of another package is an
// Outage.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return Found
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Outcome
	}
	return Outage
}

// Error is the failure of a request to an upstream. errors.As and fault.From find
// in it the *fault.Error that Fault returns.
type Error struct {
	Outcome     Outcome       // never Found
	Status      int           // of HTTP; 0 without a response, or if it did not matter
	RetryAfter  time.Duration // when to retry; 0 = unknown
	RateLimited bool          // by the upstream, or by Berth's own pace
	Timeout     bool          // too slow, and only that
	Refused     bool          // the operator's configuration forbids the address
	Upstream    string        // its slug
	Message     string        // safe for users: names the upstream, never an address

	reason    fault.Reason // of NotHere
	proven    bool         // Denied after the credential was accepted
	paused    bool         // not asked, after too many failures
	paced     bool         // not asked, for the limits that Berth keeps itself
	broken    bool         // suggests that the upstream is down
	left      bool         // the caller went away
	silent    bool         // no response
	elsewhere bool         // redirected to what is no resource of a registry
	cause     error
}

// Error is for logs: it contains the cause.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.cause.Error()
}

// Unwrap returns the cause; it may be nil.
func (e *Error) Unwrap() error { return e.cause }

// LoginAccepted reports whether a denial came after the upstream had accepted the
// configured credential: its token endpoint issued a token for the repository to it, and
// the registry answered 401 to that token.
func (e *Error) LoginAccepted() bool { return e.Outcome == Denied && e.proven }

// Fault is the error for Berth's clients: NotFound, Denied, TooMany,
// UpstreamTimeout, Unavailable while the upstream is not asked because it is down,
// else BadUpstream. e is its cause.
func (e *Error) Fault() *fault.Error {
	kind, reason := fault.BadUpstream, fault.UnavailableReason
	switch {
	case e.Outcome == NotHere:
		kind, reason = fault.NotFound, e.reason
	case e.Outcome == Denied:
		kind, reason = fault.Denied, fault.DeniedReason
	case e.RateLimited:
		kind, reason = fault.TooMany, fault.TooManyRequests
	case e.Timeout:
		kind = fault.UpstreamTimeout
	case e.paused, e.left:
		kind = fault.Unavailable
	}
	f := fault.Wrap(e, kind, reason, "%s", e.Message).WithRetryAfter(e.RetryAfter)
	if e.Refused {
		f = f.WithDetail(map[string]string{"reason": "REFUSED_BY_CONFIGURATION", "upstream": e.Upstream})
	}
	return f
}

// As makes fault.From and errors.As find e as a *fault.Error.
func (e *Error) As(target any) bool {
	f, ok := target.(**fault.Error)
	if ok {
		*f = e.Fault()
	}
	return ok
}

// errSlow ends a request that exceeds its time limit.
var errSlow = errors.New("the upstream took too long")

// outage is the error for an unusable response. The message continues after the
// upstream's name.
func (c *Client) outage(cause error, format string, args ...any) *Error {
	return &Error{
		Outcome: Outage, Upstream: c.config.Upstream, cause: cause,
		Message: fmt.Sprintf("upstream %q ", c.config.Upstream) + fmt.Sprintf(format, args...),
	}
}

// failed is the error for requests without a response. The cause, such as a name, a
// port or TLS, is only logged: users could scan the internal network with it
// (contract E1). A refused address is reported, without the address: open and
// closed ports are refused alike.
func (c *Client) failed(ctx context.Context, cause error) *Error {
	e := c.outage(cause, "cannot be reached")
	e.silent = true
	switch {
	case errors.Is(context.Cause(ctx), errSlow):
		e = c.outage(cause, "did not answer in time")
		e.Timeout, e.broken, e.silent = true, true, true
	case ctx.Err() != nil:
		e = c.outage(context.Cause(ctx), "was not waited for")
		e.left = true
	case errors.Is(cause, errForbidden):
		e = c.outage(cause, "is refused by configuration: %s", refusal(cause))
		e.Refused = true
	case errors.Is(cause, errProxy):
		e = c.outage(cause, "cannot be reached through its proxy")
		e.silent, e.broken = true, true
	default:
		e.broken = true
	}
	return e
}

// Withheld turns a denial that must not count as an absence into an outage. The message
// continues after the upstream's name. Other errors stay unchanged.
func Withheld(err error, message string) error {
	var e *Error
	if !errors.As(err, &e) || e.Outcome != Denied {
		return err
	}
	withheld := *e
	withheld.Outcome, withheld.Message = Outage, fmt.Sprintf("upstream %q %s", e.Upstream, message)
	return &withheld
}

func (c *Client) denied(e *Error) {
	e.Outcome = Denied
	e.Message = fmt.Sprintf("upstream %q denies access, or does not have it: no credential is configured for it", c.config.Upstream)
	if !c.config.anonymous() {
		e.Message = fmt.Sprintf("upstream %q denies access with the credential that is configured for it", c.config.Upstream)
	}
}

func (c *Client) rateLimited(e *Error) {
	e.RateLimited = true
	e.Message = fmt.Sprintf("upstream %q allows no more requests for now, try again later", c.config.Upstream)
	if e.RetryAfter == 0 {
		e.RetryAfter = c.limits.backOff
	}
}
