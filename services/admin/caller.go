package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
)

// caller is who makes a call. The zero value is nobody and may do nothing.
type caller struct {
	operator  bool
	principal access.Principal // of a service account; zero for the operator
}

func (c caller) actor() string {
	if c.operator {
		return "operator"
	}
	return c.principal.Actor()
}

type callerKey struct{}

func withCaller(ctx context.Context, c caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// authenticate says who sent the values of the Authorization header. No
// credential, two, or a wrong one is fault.Unauthenticated; an outage is not.
func (s *Service) authenticate(ctx context.Context, authorization []string) (caller, error) {
	if len(authorization) != 1 {
		return caller{}, unauthenticated("the admin API needs one `Authorization: Bearer` header")
	}
	scheme, token, _ := strings.Cut(authorization[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return caller{}, unauthenticated("the admin API takes `Authorization: Bearer` credentials only")
	}
	hash := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(hash[:], s.operator[:]) == 1 {
		return caller{operator: true}, nil
	}
	a, err := s.store.FindAccountByKey(ctx, 0, "", hash)
	switch {
	case fault.Is(err, fault.ResourceUnknown):
		return caller{}, unauthenticated("the token is not valid")
	case err != nil:
		return caller{}, err
	}
	return caller{principal: access.ServiceAccount(a.Tenant, a.Slug, a.Role)}, nil
}

func unauthenticated(message string) error {
	return fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "%s", message)
}
