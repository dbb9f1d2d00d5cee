package front

import (
	"fmt"
	"strings"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
)

// Why a caller who may pull may not do more.
const (
	reasonReadOnly = "READ_ONLY"
	reasonRole     = "ROLE"
	reasonToken    = "TOKEN"
)

// accessDenied says to a caller who may pull what keeps it from the rest of want: the
// registry, its role, or its token. It looks at nothing but the call, as all
// decisions about rights do.
func (c *Call) accessDenied(want access.Scope) error {
	need := want.Actions &^ c.Allowed(want)
	detail := map[string]string{"needs": need.String(), "registry": c.Site.RegistrySlug}
	var message string
	switch role := c.Principal.Role; {
	case c.Site.Settings.ReadOnly:
		detail["reason"] = reasonReadOnly
		message = fmt.Sprintf("registry %q is read-only", c.Site.RegistrySlug)
	case !role.Actions().Has(need):
		account := strings.TrimPrefix(c.Principal.Name, "serviceAccounts/")
		detail["reason"], detail["account"], detail["role"] = reasonRole, account, string(role)
		message = fmt.Sprintf("account %q has role %s, which may not %s", account, role, verbs(need))
	default:
		detail["reason"] = reasonToken
		message = fmt.Sprintf("the token was issued without the right to %s; request a new one", verbs(need))
	}
	return fault.New(fault.Denied, fault.DeniedReason, "%s", message).WithDetail(detail)
}

// anonymousDenied asks for a credential, and says what is off without one. What
// it says is about the registry: private and missing repositories get the same
// answer.
func (c *Call) anonymousDenied(want access.Scope) error {
	lacks := want.Actions &^ access.Allowed(c.Site, c.Principal, want.Name)
	why := "anonymous callers may not delete"
	switch {
	case lacks.Has(access.Pull):
		why = "anonymous pull is off in this registry"
	case c.Site.Settings.ReadOnly:
		why = "this registry is read-only"
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

// LoginRequired is the answer to a caller who is not logged in where an answer would
// need to be one of an upstream that serves others only. It says no more than
// which registry was asked.
func (c *Call) LoginRequired() error {
	return &challenge{
		error: fault.New(fault.Unauthenticated, fault.UnauthorizedReason,
			"authentication is required: what this registry does not hold itself may be for callers who are logged in"),
		scope: access.Repository(c.Route.Name, access.Pull),
	}
}

// verbs is a set of actions in a sentence.
func verbs(a access.Actions) string { return strings.ReplaceAll(a.String(), ",", " or ") }
