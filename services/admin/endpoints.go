package admin

import (
	"google.golang.org/grpc"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
)

// operations is the gRPC service, made of one go-kit operation per RPC. An RPC
// that is missing here is Unimplemented.
func operations(g gate) *grpc.ServiceDesc {
	s := g.service
	return &grpc.ServiceDesc{
		ServiceName: pb.AdminService_ServiceDesc.ServiceName,
		HandlerType: (*pb.AdminServiceServer)(nil),
		Metadata:    pb.AdminService_ServiceDesc.Metadata,
		Methods: []grpc.MethodDesc{
			method(g, "CreateTenant", s.CreateTenant),
			method(g, "GetTenant", s.GetTenant),
			method(g, "ListTenants", s.ListTenants),
			method(g, "UpdateTenant", s.UpdateTenant),
			method(g, "DeleteTenant", s.DeleteTenant),
			method(g, "UndeleteTenant", s.UndeleteTenant),
			method(g, "SuspendTenant", s.SuspendTenant),
			method(g, "ResumeTenant", s.ResumeTenant),

			method(g, "CreateRegistry", s.CreateRegistry),
			method(g, "GetRegistry", s.GetRegistry),
			method(g, "ListRegistries", s.ListRegistries),
			method(g, "UpdateRegistry", s.UpdateRegistry),
			method(g, "DeleteRegistry", s.DeleteRegistry),
			method(g, "UndeleteRegistry", s.UndeleteRegistry),

			method(g, "GetRepository", s.GetRepository),
			method(g, "ListRepositories", s.ListRepositories),
			method(g, "DeleteRepository", s.DeleteRepository),
			method(g, "ListTags", s.ListTags),

			method(g, "ListNameClaims", s.ListNameClaims),
			method(g, "ReleaseNameClaim", s.ReleaseNameClaim),

			method(g, "ResolveReference", s.ResolveReference),

			method(g, "CreateUpstream", s.CreateUpstream),
			method(g, "GetUpstream", s.GetUpstream),
			method(g, "ListUpstreams", s.ListUpstreams),
			method(g, "UpdateUpstream", s.UpdateUpstream),
			method(g, "DeleteUpstream", s.DeleteUpstream),
			method(g, "PurgeUpstream", s.PurgeUpstream),
			method(g, "RefreshUpstream", s.RefreshUpstream),
			method(g, "GetCachedRepository", s.GetCachedRepository),
			method(g, "ListCachedRepositories", s.ListCachedRepositories),

			method(g, "CreateUpstreamGroup", s.CreateUpstreamGroup),
			method(g, "GetUpstreamGroup", s.GetUpstreamGroup),
			method(g, "ListUpstreamGroups", s.ListUpstreamGroups),
			method(g, "UpdateUpstreamGroup", s.UpdateUpstreamGroup),
			method(g, "DeleteUpstreamGroup", s.DeleteUpstreamGroup),

			method(g, "CreateDomain", s.CreateDomain),
			method(g, "GetDomain", s.GetDomain),
			method(g, "ListDomains", s.ListDomains),
			method(g, "UpdateDomain", s.UpdateDomain),
			method(g, "DeleteDomain", s.DeleteDomain),
			method(g, "VerifyDomain", s.VerifyDomain),

			method(g, "CreateServiceAccount", s.CreateServiceAccount),
			method(g, "GetServiceAccount", s.GetServiceAccount),
			method(g, "ListServiceAccounts", s.ListServiceAccounts),
			method(g, "UpdateServiceAccount", s.UpdateServiceAccount),
			method(g, "DeleteServiceAccount", s.DeleteServiceAccount),
			method(g, "CreateServiceAccountKey", s.CreateServiceAccountKey),
			method(g, "ListServiceAccountKeys", s.ListServiceAccountKeys),
			method(g, "DeleteServiceAccountKey", s.DeleteServiceAccountKey),

			method(g, "ListEvents", s.ListEvents),
			method(g, "GetUsage", s.GetUsage),

			method(g, "CreateBackup", s.CreateBackup),
			method(g, "RenewBackup", s.RenewBackup),
			method(g, "DeleteBackup", s.DeleteBackup),
		},
	}
}
