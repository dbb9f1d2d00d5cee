package front

import (
	"context"
	"fmt"
	"strings"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/services/internal/kit"
)

// Rule decides whether a call may run an operation. It sees only the call, not whether a
// repository exists, so that private and missing get the same answer (contract section 1).
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

// NeedsCatalog is the rule of listing the registry's repositories: the list shows those
// that the caller may pull (contract row C10).
func NeedsCatalog(c *Call) error { return c.require(access.Catalog) }

// decideBy sets the call's Rights: what its principal may do now, which is the most that a
// token grants.
func (c *Call) decideBy(ctx context.Context, policies *access.Policies) error {
	var err error
	c.Rights, err = policies.Rights(ctx, &c.Site, c.Principal, web.ClientAddr(ctx))
	return err
}

// Allowed says what the caller may do with the resource: what the token grants as far as
// the caller still has the right; without a token, what the caller may do now.
func (c *Call) Allowed(resource access.Scope) access.Actions {
	if c.Site.IsMirror() {
		return c.mirrorAllows(resource)
	}
	if c.claims != nil {
		return c.claims.Allowed(&c.Rights, resource)
	}
	return c.Rights.On(resource)
}

// require returns nil if the caller may do all that the scope says, else the
// refusal of contract section 1:
//
//   - 401 insufficient_scope for a token that did not ask for it, so that the
//     client widens it;
//   - 401 with a challenge for an anonymous caller;
//   - 404 for an account that may not pull, 403 for one that may.
func (c *Call) require(want access.Scope) error {
	has := c.Allowed(want)
	switch {
	case has.Has(want.Actions):
		return nil
	case c.claims != nil && !c.claims.Requested(want).Has(want.Actions):
		return &challenge{
			error: fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "the token lacks a scope that this request needs; request a token with it"),
			scope: withPull(want),
			code:  "insufficient_scope",
		}
	case c.Principal.Anonymous():
		return c.anonymousDenied(want)
	case !c.Rights.On(want).Has(access.Pull):
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

// Reasons why a caller that may pull may not do more.
const (
	reasonReadOnly = "READ_ONLY"
	reasonRole     = "ROLE"
	reasonRule     = "ACCESS_RULE"
	reasonToken    = "TOKEN"
)

// accessDenied tells a caller who may pull why the rest of want is refused: by the
// registry, its role, or its token. Like all decisions about rights it uses only the
// call.
func (c *Call) accessDenied(want access.Scope) error {
	need := want.Actions &^ c.Allowed(want)
	detail := map[string]string{"needs": need.String(), "registry": c.Site.RegistrySlug}
	var message string
	switch role := c.Principal.Role; {
	case c.Site.Settings.ReadOnly:
		detail["reason"] = reasonReadOnly
		message = fmt.Sprintf("registry %q is read-only", c.Site.RegistrySlug)
	case !c.Rights.On(want).Has(need) && (role == access.Member || role.Actions().Has(need)):
		detail["reason"] = reasonRule
		message = fmt.Sprintf("the access rules of this tenant do not let you %s here; its administrator can change them", verbs(need))
	case !role.Actions().Has(need):
		_, account, _ := access.AccountOf(c.Principal.Name)
		detail["reason"], detail["account"], detail["role"] = reasonRole, account, string(role)
		message = fmt.Sprintf("account %q has role %s, which may not %s", account, role, verbs(need))
	default:
		detail["reason"] = reasonToken
		message = fmt.Sprintf("the token was issued without the right to %s; request a new one", verbs(need))
	}
	return fault.New(fault.Denied, fault.DeniedReason, "%s", message).WithDetail(detail)
}

// anonymousDenied challenges an anonymous caller and says which anonymous right is
// off. Like all decisions about rights it uses only the call, so that the answer is the
// same for private and missing repositories.
func (c *Call) anonymousDenied(want access.Scope) error {
	settings := c.Site.Settings
	lacks := want.Actions &^ c.Rights.On(want)
	why := "anonymous callers may not delete"
	switch {
	case lacks.Has(access.Pull) && (settings.AnonymousPull || settings.AnonymousPush):
		why = "an access rule takes the right to pull this from anonymous callers"
	case lacks.Has(access.Pull):
		why = "anonymous pull is off in this registry"
	case settings.ReadOnly:
		why = "this registry is read-only"
	case lacks.Has(access.Push) && settings.AnonymousPush:
		why = "an access rule takes the right to push this from anonymous callers"
	case lacks.Has(access.Push):
		why = "anonymous push is off in this registry"
	case lacks == 0: // only the token does not say so
		why = "the token was issued without this right"
	}
	return &challenge{
		error: fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "authentication is required: %s", why),
		scope: withPull(want),
	}
}

// LoginRequired is the answer to an anonymous caller where only an upstream that
// serves authenticated callers could answer. It reveals only which registry was asked.
func (c *Call) LoginRequired() error {
	return &challenge{
		error: fault.New(fault.Unauthenticated, fault.UnauthorizedReason,
			"authentication is required: content of upstreams may be for authenticated callers only"),
		scope: access.Repository(c.Route.Name, access.Pull),
	}
}

// verbs is a set of actions in a sentence.
func verbs(a access.Actions) string { return strings.ReplaceAll(a.String(), ",", " or ") }
