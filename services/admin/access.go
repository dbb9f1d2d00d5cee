package admin

import (
	"context"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
)

// rule says who may make a call. The zero value is nobody.
type rule uint8

const (
	operatorOnly rule = iota + 1
	ownTenant         // the operator, and admins of the tenant the request names
)

// String is what a call under the rule needs, for the log.
func (r rule) String() string {
	switch r {
	case operatorOnly:
		return "operator"
	case ownTenant:
		return "operator, or ADMIN of the tenant"
	default:
		return "nobody"
	}
}

// rules has one row per RPC; a call without a row is refused, at start.
var rules = map[string]rule{
	"CreateTenant":   operatorOnly,
	"GetTenant":      ownTenant,
	"ListTenants":    operatorOnly,
	"UpdateTenant":   operatorOnly,
	"DeleteTenant":   operatorOnly,
	"UndeleteTenant": operatorOnly,
	"SuspendTenant":  operatorOnly,
	"ResumeTenant":   operatorOnly,

	"CreateRegistry":   ownTenant,
	"GetRegistry":      ownTenant,
	"ListRegistries":   ownTenant,
	"UpdateRegistry":   ownTenant,
	"DeleteRegistry":   ownTenant,
	"UndeleteRegistry": ownTenant,

	"GetRepository":    ownTenant,
	"ListRepositories": ownTenant,
	"DeleteRepository": ownTenant,
	"ListTags":         ownTenant,

	"ListNameClaims":   ownTenant,
	"ReleaseNameClaim": ownTenant,

	"ResolveReference": ownTenant,

	"CreateUpstream":         ownTenant,
	"GetUpstream":            ownTenant,
	"ListUpstreams":          ownTenant,
	"UpdateUpstream":         ownTenant,
	"DeleteUpstream":         ownTenant,
	"PurgeUpstream":          ownTenant,
	"RefreshUpstream":        ownTenant,
	"GetCachedRepository":    ownTenant,
	"ListCachedRepositories": ownTenant,

	"CreateUpstreamGroup": ownTenant,
	"GetUpstreamGroup":    ownTenant,
	"ListUpstreamGroups":  ownTenant,
	"UpdateUpstreamGroup": ownTenant,
	"DeleteUpstreamGroup": ownTenant,

	"CreateDomain": ownTenant,
	"GetDomain":    ownTenant,
	"ListDomains":  ownTenant,
	"UpdateDomain": ownTenant,
	"DeleteDomain": ownTenant,
	"VerifyDomain": ownTenant,

	"CreateServiceAccount":    ownTenant,
	"GetServiceAccount":       ownTenant,
	"ListServiceAccounts":     ownTenant,
	"UpdateServiceAccount":    ownTenant,
	"DeleteServiceAccount":    ownTenant,
	"CreateServiceAccountKey": ownTenant,
	"ListServiceAccountKeys":  ownTenant,
	"DeleteServiceAccountKey": ownTenant,

	"ListEvents": ownTenant,
	"GetUsage":   ownTenant,

	"CreateBackup": operatorOnly,
	"RenewBackup":  operatorOnly,
	"DeleteBackup": operatorOnly,
}

// decide is the one decision on who may do what. A tenant's admin gets the same
// answer for another tenant and for one that does not exist.
func (s *Service) decide(ctx context.Context, r rule, req any) error {
	c := callerOf(ctx)
	if c.operator && (r == operatorOnly || r == ownTenant) {
		return nil
	}
	denied := c.denied(r)
	if r != ownTenant || c.principal.Anonymous() || c.principal.Role != access.Admin {
		return denied
	}
	slug, ok := tenantOf(req)
	if !ok {
		return denied
	}
	t, err := s.store.FindTenant(ctx, slug)
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
