package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// Outcome is what an upstream's answer comes to.
type Outcome string

// The outcomes. Only NotHere is an authoritative absence.
const (
	Found   Outcome = "found"
	NotHere Outcome = "not_here" // the registry itself said 404
	Denied  Outcome = "denied"   // 401 or 403, by the registry or its token endpoint
	Outage  Outcome = "outage"   // all else
)

// OutcomeOf says what a call came to by its error; an error that is not of this
// package is an Outage.
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

// Error is why an upstream did not give what it was asked for. errors.As and
// fault.From find the *fault.Error that Fault returns in it.
type Error struct {
	Outcome     Outcome       // never Found
	Status      int           // of HTTP; 0 when there was no answer, or it did not matter
	RetryAfter  time.Duration // when to come back; 0 = unknown
	RateLimited bool          // the upstream, or Berth's own pace, allows no more for now
	Timeout     bool          // too slow, and only that
	Refused     bool          // the operator's configuration forbids the address: it was not connected to
	Upstream    string        // its slug
	Message     string        // safe for users: names the upstream, never an address

	reason fault.Reason // of NotHere
	paused bool         // it was not asked: it failed too often just before
	broken bool         // speaks for an upstream that is down
	left   bool         // the caller went away
	silent bool         // there was no answer
	cause  error
}

// Error is for logs: it contains the cause.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.cause.Error()
}

// Unwrap returns the cause; nil for an answer that says all.
func (e *Error) Unwrap() error { return e.cause }

// Fault is the error as Berth's clients are told it: NotFound, Denied, TooMany,
// UpstreamTimeout, Unavailable while the upstream is not asked because it is
// down, and else BadUpstream. e is its cause.
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

// errSlow ends what takes longer than the limits say.
var errSlow = errors.New("the upstream took too long")

// outage is an answer that cannot be used. The message continues after the
// upstream's name.
func (c *Client) outage(cause error, format string, args ...any) *Error {
	return &Error{
		Outcome: Outage, Upstream: c.config.Upstream, cause: cause,
		Message: fmt.Sprintf("upstream %q ", c.config.Upstream) + fmt.Sprintf(format, args...),
	}
}

// failed is for requests without an answer. What failed, a name, a port, TLS, is
// for the log only: distinguished by users, it would be a scanner of the network we
// are in (contract E1). An address that is not connected to is told, without the
// address: every port of it is refused alike, open or not.
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
	default:
		e.broken = true
	}
	return e
}

// Withheld makes an outage of a denial that must not be taken for an absence. The message
// continues after the upstream's name. Another error stays as it is.
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
		e.RetryAfter = c.owner.limits.backOff
	}
}
