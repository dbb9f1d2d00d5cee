package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/pkg/pause"
)

// permit is one call's permission to ask the upstream.
type permit struct {
	client  *Client
	kind    string // of request
	places  chan struct{}
	done    func(error) // tells the breaker
	started time.Time
	isLarge bool // it has a place among the large documents
}

// enter waits for a place and for the upstream's rate. It fails at once when the
// upstream is down or limits requests.
func (c *Client) enter(ctx context.Context, places chan struct{}, rq request) (*permit, error) {
	if hopsOf(ctx) >= ocihttp.MaxHops {
		return nil, c.outage(nil, "is part of a loop: the request came through %d registries already", ocihttp.MaxHops)
	}
	if err := c.place(ctx, places); err != nil {
		return nil, err
	}
	done, err := c.admit(ctx, rq)
	if err != nil {
		<-places
		return nil, err
	}
	return &permit{client: c, kind: rq.kind(), places: places, done: done, started: time.Now()}, nil
}

// place waits for a place. The number of waiting requests is bounded, as a wait may
// outlive its client.
func (c *Client) place(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	default:
	}
	defer c.queued.Add(-1)
	if c.queued.Add(1) > int64(c.limits.queue) {
		e := c.outage(nil, "")
		e.paced = true
		c.rateLimited(e)
		return e
	}
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return c.failed(ctx, ctx.Err())
	}
}

// admit refuses requests of a kind that the upstream has limited: Docker Hub limits
// manifests but not blobs (contract row T5). It refuses those that would take another
// tenant's share of the upstream's budget (T61).
func (c *Client) admit(ctx context.Context, rq request) (func(error), error) {
	if left := c.health.quiet.left(rq.kind(), time.Now()); left > 0 {
		e := c.outage(nil, "")
		e.RetryAfter = left
		c.rateLimited(e)
		return nil, e
	}
	if err := c.wait(ctx); err != nil {
		return nil, err
	}
	if !c.budget.spend(rq.kind(), rq.method, c.config.Tenant, time.Now()) {
		e := c.outage(nil, "")
		e.RetryAfter = c.limits.maxBackOff
		c.rateLimited(e)
		e.Message = fmt.Sprintf("upstream %q allows few more requests for now, and the rest is shared with other tenants: try again later", c.config.Upstream)
		return nil, e
	}
	done, err := c.circuit.Allow()
	if err != nil {
		c.budget.refund(rq.kind(), rq.method, c.config.Tenant)
		e := c.outage(err, "failed several times in a row and is left alone for a moment")
		e.paused, e.RetryAfter = true, c.limits.breakFor
		return nil, e
	}
	return done, nil
}

// wait waits for the rate limiter.
func (c *Client) wait(ctx context.Context) error {
	r := c.pace.Reserve()
	delay := r.Delay()
	if delay == 0 {
		return nil
	}
	if delay > c.limits.patience {
		r.Cancel()
		e := c.outage(nil, "")
		e.RetryAfter, e.paced = delay, true
		c.rateLimited(e)
		return e
	}
	if pause.For(ctx, delay) != nil {
		r.Cancel()
		return c.failed(ctx, ctx.Err())
	}
	return nil
}

// end records how the call ended, and returns its error.
func (t *permit) end(err error) error {
	c := t.client
	var e *Error
	if err != nil && !errors.As(err, &e) {
		e = c.outage(err, "cannot be asked")
		err = e
	}
	t.done(err)
	c.series.observe(e, time.Since(t.started))
	c.health.saw(e, t.kind, time.Now())
	return err
}

// observe counts a call that ended.
func (s series) observe(e *Error, took time.Duration) {
	outcome := string(Found)
	switch {
	case e == nil:
	case e.left:
		outcome = "left"
	case e.RateLimited:
		outcome = "rate_limited"
	default:
		outcome = string(e.Outcome)
	}
	s.metrics.requests.WithLabelValues(s.tenant, s.upstream, outcome).Inc()
	s.metrics.seconds.WithLabelValues(s.tenant, s.upstream).Observe(took.Seconds())
}

// large waits for a place among the large documents. Having to wait
// says nothing about the upstream.
func (t *permit) large(ctx context.Context) error {
	c := t.client
	if err := c.owner.large.Acquire(ctx, c.config.Tenant, 1); err != nil {
		e := c.outage(err, "sends too much at a time")
		e.left = true
		return e
	}
	t.isLarge = true
	return nil
}

// leave frees the places.
func (t *permit) leave() {
	if t.isLarge {
		t.client.owner.large.Release(t.client.config.Tenant, 1)
	}
	<-t.places
}

// newCircuit makes a breaker that opens after breakAfter failures in a row. Any
// response, even a denial or a malformed one, is not such a failure.
func newCircuit(c *Client) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        c.config.Upstream,
		Timeout:     c.limits.breakFor,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= c.limits.breakAfter },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if !c.spare {
				c.series.state(to)
			}
			switch {
			case to == gobreaker.StateClosed:
				c.owner.log.Info("upstream answers again", "upstream", c.config)
			case from == gobreaker.StateClosed:
				c.owner.log.Warn("upstream stopped answering", "upstream", c.config)
			}
		},
		IsSuccessful: func(err error) bool {
			var e *Error
			return !errors.As(err, &e) || !e.broken
		},
		IsExcluded: func(err error) bool {
			var e *Error
			return errors.As(err, &e) && e.left
		},
	})
}
