package front

import (
	"context"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/services/internal/kit"
)

// Rule decides whether a call may run an operation. It sees nothing but the
// call: whether a repository exists plays no part, so that private and missing
// are answered alike (contract section 1).
type Rule func(*Call) error

// Access is the access middleware of a service: each of its operations has a
// rule, or the service does not start.
func Access(rules map[string]Rule) kit.Middleware {
	return kit.Access(rules, func(ctx context.Context, rule Rule, _ any) error {
		return rule(CallOf(ctx))
	})
}

// Needs is the rule of operations on the repository in the path.
func Needs(want access.Actions) Rule {
	return func(c *Call) error { return c.require(access.Repository(c.Route.Name, want)) }
}

// NeedsCatalog is the rule of listing the registry's repositories: only those
// who may pull all of them see their names (contract row C10).
func NeedsCatalog(c *Call) error { return c.require(access.Catalog) }

// Allowed says what the caller may do with the resource: what the token grants
// as far as the registry's settings still allow it; without a token, what the
// account, or anybody, may do now.
func (c *Call) Allowed(resource access.Scope) access.Actions {
	if c.claims != nil {
		return c.claims.Allowed(c.Site, resource)
	}
	return access.Allowed(c.Site, c.Principal, resource.Name)
}

// require returns nil if the caller may do all that the scope says, else the
// refusal of contract section 1:
//
//   - 401 insufficient_scope for a token that did not ask for it, so that the
//     client widens it;
//   - 401 with a challenge for nobody in particular;
//   - 404 for somebody who may not pull, 403 for somebody who may.
func (c *Call) require(want access.Scope) error {
	has := c.Allowed(want)
	switch {
	case has.Has(want.Actions):
		return nil
	case c.claims != nil && !c.claims.Requested(want).Has(want.Actions):
		return &challenge{
			error: fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "the token does not carry the scope that this needs; ask for one that does"),
			scope: withPull(want),
			code:  "insufficient_scope",
		}
	case c.Principal.Anonymous():
		return c.anonymousDenied(want)
	case !access.Allowed(c.Site, c.Principal, want.Name).Has(access.Pull):
		return fault.New(fault.NotFound, fault.NameUnknown, "repository not found, or you do not have pull access")
	default:
		return c.accessDenied(want)
	}
}

// unauthenticated asks for a credential; the zero scope for any.
func unauthenticated(scope access.Scope) error {
	return &challenge{
		error: fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "authentication is required"),
		scope: scope,
	}
}
