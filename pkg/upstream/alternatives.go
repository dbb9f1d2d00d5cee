package upstream

import (
	"context"
	"errors"
	"time"
)

// at is the configuration for another URL of the upstream, which gets nothing of the first
// URL's.
func (c Config) at(t Target) Config {
	if t.CA == "" {
		t.CA = c.CA // no secret
	}
	c.Target, c.Alternatives = t, nil
	c.Helper = nil // its credential is for the host of the first URL only
	return c
}

// anywhere is inOrder for the upstream and its alternatives.
func anywhere[T any](ctx context.Context, c *Client, ask func(*Client) (T, error)) (T, error) {
	return inOrder(ctx, c, c.others, ask)
}

// inOrder asks the first, and during its outage the others, in order, until one has it.
// What another does not have, or denies, is still the outage of the first: it may be
// behind.
func inOrder[E, T any](ctx context.Context, first E, others []E, ask func(E) (T, error)) (T, error) {
	v, err := ask(first)
	if !isOutage(ctx, err) {
		return v, err
	}
	for _, other := range others {
		found, failed := ask(other)
		if failed == nil {
			return found, nil
		}
		if !isOutage(ctx, failed) {
			break
		}
	}
	return v, err
}

// isOutage reports whether err is the upstream's, and not for a caller who left or a limit
// that Berth keeps itself.
func isOutage(ctx context.Context, err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Outcome == Outage && !e.left && !e.paced && ctx.Err() == nil
}

// Patience is how long a document may take, from all URLs.
func (c *Client) Patience() time.Duration {
	patience := c.limits.answer
	if c.config.Limits.Pace > 0 {
		patience += c.limits.patience
	}
	for _, other := range c.others {
		patience += other.Patience()
	}
	return patience
}

// withAlternatives is the status s of the upstream with what the alternatives did for it.
func (c *Client) withAlternatives(s Status) Status {
	for _, other := range c.others {
		if of := other.Status(); of.SucceededAt.After(s.SucceededAt) {
			s.SucceededAt = of.SucceededAt
		}
	}
	if s.SucceededAt.After(s.FailedAt) && s.Health != NeverAsked {
		s.Health = Healthy
	}
	return s
}
