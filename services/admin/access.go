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

// scopeOf is what a call of the method needs, for the log.
func scopeOf(method string) string {
	switch rules[method] {
	case pb.Access_OPERATOR:
		return "operator"
	case pb.Access_TENANT_ADMIN:
		return "operator, or ADMIN of the tenant"
	default:
		return "unknown"
	}
}

// decide is the one decision on who may do what. A tenant's admin gets the same
// answer for another tenant and for one that does not exist.
func (s *Service) decide(ctx context.Context, a pb.Access, message proto.Message) error {
	c := callerOf(ctx)
	if c.operator && (a == pb.Access_OPERATOR || a == pb.Access_TENANT_ADMIN) {
		return nil
	}
	denied := c.denied(a)
	if a != pb.Access_TENANT_ADMIN || c.principal.Anonymous() || c.principal.Role != access.Admin {
		return denied
	}
	slug, ok := tenantOf(message)
	if !ok {
		return denied
	}
	t, err := s.tenantBySlug(ctx, slug)
	switch {
	case fault.Is(err, fault.ResourceUnknown):
		return denied
	case err != nil:
		return err
	case t.ID != c.principal.Tenant:
		return denied
	}
	return nil
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
	_, account, _ := access.AccountOf(c.principal.Name)
	switch {
	case c.operator:
		return fault.New(fault.Denied, fault.DeniedReason, "no caller may do this")
	case c.principal.Role != access.Admin:
		return fault.New(fault.Denied, fault.DeniedReason, "account %q has role %s; the admin API is for role ADMIN and the operator", account, c.principal.Role)
	case a == pb.Access_TENANT_ADMIN:
		return fault.New(fault.Denied, fault.DeniedReason, "account %q may manage only its own tenant", account)
	default:
		return fault.New(fault.Denied, fault.DeniedReason, "only the operator may do this; account %q is an admin of its tenant", account)
	}
}
