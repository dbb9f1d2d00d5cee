package admin

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
)

// rules are the access options of the API's methods, by name.
var rules = accessOptions()

// accessOptions leaves out a method without one, for which kit.Access then fails at
// start.
func accessOptions() map[string]pb.Access {
	rules := map[string]pb.Access{}
	for i := range methods.Len() {
		m := methods.Get(i)
		if a, _ := proto.GetExtension(m.Options(), pb.E_Access).(pb.Access); a != pb.Access_ACCESS_UNSPECIFIED {
			rules[string(m.Name())] = a
		}
	}
	return rules
}

// need is what a rule asks of a principal of the tenant that a request names.
type need struct {
	words string         // for the log and for errors
	roles []access.Role  // one of them is enough
	rule  bool           // so are access rules that give Manage on what the request names
	self  bool           // so is to be the account that the request names
	only  access.Actions // if not 0: the caller's rights on the repository decide, which rules also take from roles
}

var everyRole = []access.Role{access.Member, access.Auditor, access.Reader, access.Writer, access.Admin}

// needs are what the rules for principals of tenants ask.
var needs = map[pb.Access]need{
	pb.Access_TENANT_ADMIN:   {words: "role ADMIN", roles: []access.Role{access.Admin}},
	pb.Access_TENANT_READ:    {words: "role ADMIN or AUDITOR", roles: []access.Role{access.Admin, access.Auditor}},
	pb.Access_REGISTRY_ADMIN: {words: "role ADMIN, or an access rule that gives ADMIN here", roles: []access.Role{access.Admin}, rule: true},
	pb.Access_REGISTRY_READ:  {words: "role ADMIN or AUDITOR, or an access rule that gives ADMIN here", roles: []access.Role{access.Admin, access.Auditor}, rule: true},
	pb.Access_MEMBER:         {words: "an account", roles: everyRole},
	pb.Access_ACCOUNT_ADMIN:  {words: "role ADMIN, or to be that account", roles: []access.Role{access.Admin}, self: true},
	pb.Access_ACCOUNT_READ:   {words: "role ADMIN or AUDITOR, or to be that account", roles: []access.Role{access.Admin, access.Auditor}, self: true},
	pb.Access_SELF:           {words: "to be that account", self: true},

	pb.Access_REPOSITORY_UNDELETE: {words: "the action UNDELETE here, by role ADMIN or an access rule", only: access.Undelete},
}

// scopeOf is what a call of the method needs, for the log.
func scopeOf(method string) string {
	a, known := rules[method]
	switch n, ofTenant := needs[a]; {
	case a == pb.Access_CALLER:
		return "a credential"
	case a == pb.Access_SELF:
		return "in the tenant " + n.words
	case ofTenant:
		return "operator, or in the tenant " + n.words
	case known:
		return "operator"
	default:
		return "unknown"
	}
}

// decide is the one decision on who may do what. A principal gets the same answer for
// another tenant and for one that does not exist.
func (s *Service) decide(ctx context.Context, a pb.Access, message proto.Message) error {
	c := callerOf(ctx)
	n, ofTenant := needs[a]
	switch {
	case a == pb.Access_CALLER && (c.operator || !c.principal.Anonymous()):
		return nil
	case c.operator && a != pb.Access_SELF && (ofTenant || a == pb.Access_OPERATOR):
		return nil
	}
	byRole := c.has(n.roles) || n.self && c.owns(resourceName(message.ProtoReflect()))
	if !ofTenant || c.principal.Anonymous() || !byRole && !n.rule && n.only == 0 {
		return c.denied(a)
	}
	slug, ok := tenantOf(message)
	if !ok {
		return c.denied(a)
	}
	t, err := s.tenantBySlug(ctx, slug)
	switch {
	case fault.Is(err, fault.ResourceUnknown):
		return c.denied(a)
	case err != nil:
		return err
	case t.ID != c.principal.Tenant:
		return c.denied(a)
	case byRole && (a == pb.Access_ACCOUNT_ADMIN || a == pb.Access_SELF):
		return s.countOwnChange(ctx)
	case byRole:
		return nil
	}
	return s.decideByRules(ctx, a, resourceName(message.ProtoReflect()))
}

// owns reports whether a resource name is of the caller's account, or of what the account has.
// It does not compare tenants.
func (c caller) owns(name string) bool {
	parts := strings.SplitN(name, "/", 5)
	return len(parts) >= 4 && !c.principal.Anonymous() && parts[2]+"/"+parts[3] == c.principal.Name
}

// decideByRules decides by the action ADMIN of access rules, or by the action that the
// method needs, from names alone: a missing registry gets the answer of one that is there.
func (s *Service) decideByRules(ctx context.Context, a pb.Access, name string) error {
	v, err := s.viewByRules(ctx, name)
	if err != nil {
		return err
	}
	registry, repository, ok := registryOf(name)
	switch only := needs[a].only; {
	case ok && only != 0 && v.may(only, registry, repository), ok && only == 0 && v.manages(registry, repository):
		return nil
	default:
		return callerOf(ctx).denied(a)
	}
}

// registryOf returns the registry of a resource name, and the repository, if it has one.
func registryOf(name string) (string, string, bool) {
	parts := strings.SplitN(name, "/", 6)
	if len(parts) < 4 || parts[2] != "registries" || parts[3] == "" {
		return "", "", false
	}
	switch {
	case len(parts) == 4:
		return parts[3], "", true
	case len(parts) == 6 && (parts[4] == "repositories" || parts[4] == "nameClaims"):
		return parts[3], parts[5], parts[5] != ""
	}
	return "", "", false
}

// tenantOf is the slug of the tenant whose resource the request names.
func tenantOf(message proto.Message) (string, bool) {
	rest, ok := strings.CutPrefix(resourceName(message.ProtoReflect()), "tenants/")
	slug, _, _ := strings.Cut(rest, "/")
	return slug, ok && slug != ""
}

// denied says who may not make a call and why. It does not say what the call is
// about: the text is the same for another tenant and for a missing one.
func (c caller) denied(a pb.Access) *fault.Error {
	n, ofTenant := needs[a]
	switch account := c.account(); {
	case c.operator && a == pb.Access_SELF:
		return fault.New(fault.Denied, fault.DeniedReason, "only the account itself may do this")
	case c.operator:
		return fault.New(fault.Denied, fault.DeniedReason, "no caller may do this")
	case !ofTenant:
		return fault.New(fault.Denied, fault.DeniedReason, "only operators may do this; account %q has role %s in its tenant", account, c.principal.Role)
	case c.has(n.roles):
		return fault.New(fault.Denied, fault.DeniedReason, "account %q may manage only its own tenant", account)
	default:
		return fault.New(fault.Denied, fault.DeniedReason, "account %q has role %s; this needs %s", account, c.principal.Role, n.words)
	}
}
