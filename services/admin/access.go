package admin

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
)

// rules are the access options of the API's methods, by name.
var rules = accessOptions(pb.File_berth_admin_v1_admin_proto.Services().ByName("AdminService"))

// accessOptions leaves out a method without one, for which kit.Access then fails at
// start.
func accessOptions(service protoreflect.ServiceDescriptor) map[string]pb.Access {
	rules := map[string]pb.Access{}
	for i := range service.Methods().Len() {
		m := service.Methods().Get(i)
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
func (s *Service) decide(ctx context.Context, a pb.Access, req any) error {
	c := callerOf(ctx)
	if c.operator && (a == pb.Access_OPERATOR || a == pb.Access_TENANT_ADMIN) {
		return nil
	}
	denied := c.denied(a)
	if a != pb.Access_TENANT_ADMIN || c.principal.Anonymous() || c.principal.Role != access.Admin {
		return denied
	}
	slug, ok := tenantOf(req)
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
func tenantOf(req any) (string, bool) {
	var name string
	switch r := req.(type) {
	case interface{ GetParent() string }:
		name = r.GetParent()
	case interface{ GetName() string }:
		name = r.GetName()
	case *pb.UpdateRegistryRequest:
		name = r.GetRegistry().GetName()
	case *pb.UpdateDomainRequest:
		name = r.GetDomain().GetName()
	case *pb.UpdateServiceAccountRequest:
		name = r.GetServiceAccount().GetName()
	case *pb.UpdateUpstreamRequest:
		name = r.GetUpstream().GetName()
	case *pb.UpdateUpstreamGroupRequest:
		name = r.GetUpstreamGroup().GetName()
	}
	rest, ok := strings.CutPrefix(name, "tenants/")
	slug, _, _ := strings.Cut(rest, "/")
	return slug, ok && slug != ""
}
