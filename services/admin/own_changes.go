package admin

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/limit"
)

// How many changes an account may make in a period, at one node, to what is its own: its
// sessions, tokens and password. Each is an event, and the log of a tenant is bounded: without
// this, an account could push out what others did.
const (
	maxOwnChanges    = 60
	ownChangesPeriod = time.Minute
)

// countOwnChange counts a change by the caller to what is its own, and refuses too many. Those
// who administer the tenant change anything anyway.
func (s *Service) countOwnChange(ctx context.Context) error {
	return s.countChangeOf(ctx, callerOf(ctx))
}

func (s *Service) countChangeOf(ctx context.Context, c caller) error {
	if c.admin() {
		return nil
	}
	k := limit.Key{Kind: "own changes", Tenant: c.principal.Tenant, Name: c.principal.Name}
	if err := s.changes.Check(ctx, k); err != nil {
		return fault.New(fault.TooMany, fault.TooManyRequests, "account %q changes too much of its own in a minute; retry later", c.account()).
			WithRetryAfter(fault.From(err).RetryAfter)
	}
	return s.changes.Add(ctx, k)
}
