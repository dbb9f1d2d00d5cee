package admin

import (
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
)

// denied says who may not make a call and why. It says nothing of what the call
// is about: the words are the same for a tenant of others and for none.
func (c caller) denied(a pb.Access) *fault.Error {
	account := strings.TrimPrefix(c.principal.Name, "serviceAccounts/")
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
