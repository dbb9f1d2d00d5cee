package admin

import (
	"context"
	"net/netip"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/tenant"
)

// How many requests of logins at issuers there are at a time. All that a tenant's providers can hold and
// let wait is less than requestsAtOnce, so that no tenant keeps others out.
const (
	requestsAtOnce    = 1024
	requestsOfAddress = 64
	atIssuers         = 64 // at all, beyond which each provider still has assuredAtIssuer
	assuredAtIssuer   = 2
	atOneIssuer       = 8
	waitingForIssuer  = 32
)

// How many logins at issuers may be refused of an address at a tenant in a period, at one node.
const (
	maxRefusedLogins    = 30
	refusedLoginsPeriod = 10 * time.Minute
)

func newIssuing() *fairgate.Gate[netip.Addr] {
	return fairgate.New[netip.Addr](fairgate.Options{Capacity: requestsAtOnce, Most: requestsOfAddress, MaxWaiting: requestsOfAddress})
}

func newAtIssuer() *fairgate.Gate[int64] {
	return fairgate.New[int64](fairgate.Options{
		Capacity: atIssuers, Most: atOneIssuer, Assured: assuredAtIssuer, Beyond: requestsAtOnce, MaxWaiting: waitingForIssuer,
	})
}

// enterIssuer waits for a turn at a provider. What it returns gives that back.
func (s *Service) enterIssuer(ctx context.Context, provider int64) (func(), error) {
	if err := s.atIssuer.AcquireWithin(ctx, provider, 1, loginWait); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, fault.Busy, "too many logins wait for this identity provider; retry later").WithRetryAfter(loginWait)
	}
	return func() { s.atIssuer.Release(provider, 1) }, nil
}

// counted lets an address finish no login at a tenant after too many that were refused.
func (s *Service) counted(ctx context.Context, t tenant.ID, finish func() (access.Principal, error)) (access.Principal, error) {
	key := limit.Key{Kind: "logins at issuers", Tenant: t, Name: web.Network(web.ClientAddr(ctx)).String()}
	if err := s.unproven.Check(ctx, key); err != nil {
		return access.Principal{}, fault.New(fault.TooMany, fault.TooManyRequests, "too many logins from this address were refused; retry later").
			WithRetryAfter(fault.From(err).RetryAfter)
	}
	p, err := finish()
	if kind := fault.KindOf(err); kind == fault.Unauthenticated || kind == fault.Invalid {
		if err := s.unproven.Add(ctx, key); err != nil {
			return access.Principal{}, err
		}
	}
	return p, err
}
