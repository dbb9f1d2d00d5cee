package admin

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/berth-registry/berth/pkg/access"
)

// What the contract says of each RPC, for a principal of the tenant; the service's own
// tables say the same in other words.
var (
	operatorsOnly = []string{
		"CreateTenant", "ListTenants", "UpdateTenant", "DeleteTenant", "UndeleteTenant", "SuspendTenant", "ResumeTenant",
		"CreateBackup", "RenewBackup", "DeleteBackup", "ListSigningKeys", "RotateSigningKeys", "ListOperatorEvents",
		"GetScrub", "StartScrub", "StopScrub", "GetSearchIndex", "RebuildSearchIndex", "RecountUsage",
		"CreateOperator", "GetOperator", "ListOperators", "UpdateOperator", "DeleteOperator", "CreateOperatorToken", "ListOperatorTokens", "DeleteOperatorToken",
	}
	ofCallers       = []string{"GetCaller", "ListCallerAccessRules"}
	ofSelf          = []string{"ChangePassword"}
	ofAccount       = append(ofSelf, "CreateAccessToken", "ListAccessTokens", "DeleteAccessToken", "ListRefreshTokens", "DeleteRefreshToken", "ListServiceAccountKeys", "GetTrust", "ListTrusts", "ListSessions", "DeleteSession")
	shownToMembers  = []string{"GetRegistry", "ListRegistries", "GetRepository", "ListRepositories", "ListTags", "ListTagHistory", "ListDeletedManifests", "ResolveReference", "SearchContent"}
	ofRegistryAdmin = []string{"ExplainRetention", "UpdateRegistry", "ListNameClaims", "DeleteRepository", "DeleteTag", "ReleaseNameClaim"}
	ofRepository    = []string{"ExplainRetention", "GetRepository", "ListTags", "ListTagHistory", "ListDeletedManifests", "DeleteRepository", "DeleteTag", "ReleaseNameClaim"} // of main/team/…
	ofUndelete      = []string{"UndeleteManifest", "UndeleteTag", "UndeleteRepository"}
	changing        = []string{"ResolveReference"} // though its name does not say so
	takenBack       = []string{"GetTenant", "UndeleteTenant", "ListEvents", "ListUsage", "GetRegistry", "UndeleteRegistry"}
)

// reads reports whether an auditor may call it.
func reads(rpc string) bool {
	begins := func(with string) bool { return strings.HasPrefix(rpc, with) }
	return slices.ContainsFunc([]string{"Get", "List", "Test", "Simulate", "Explain", "Search"}, begins) && !slices.Contains(changing, rpc)
}

// matrixWant is what an RPC about a resource in this state gives the principal.
func matrixWant(rpc string, p matrixPrincipal, state string) codes.Code {
	tenantName, _ := tenantOf(matrixRows[rpc].request)
	switch {
	case !p.known:
		return codes.Unauthenticated
	case slices.Contains(ofCallers, rpc):
		return codes.OK
	case p.own && isAbout(rpc, p, state):
		return foundWant(rpc, state)
	case slices.Contains(ofSelf, rpc):
		return codes.PermissionDenied
	case p.operator:
		return foundWant(rpc, state)
	case !p.own, slices.Contains(operatorsOnly, rpc), tenantName == "t-{s}" && state != "there":
		return codes.PermissionDenied
	case rpc == "PromoteImage":
		return promoteWant(rpc, p, state)
	case p.role == access.Admin, p.role == access.Auditor && reads(rpc):
		return foundWant(rpc, state)
	case p.rule == "undeleter" && slices.Contains(ofUndelete, rpc):
		return foundWant(rpc, state)
	case slices.Contains(shownToMembers, rpc):
		return shownWant(rpc, p, state)
	case !slices.Contains(ofRegistryAdmin, rpc):
		return codes.PermissionDenied
	case p.rule == "registry admin", p.rule == "repository admin" && slices.Contains(ofRepository, rpc):
		return foundWant(rpc, state)
	default:
		return codes.PermissionDenied
	}
}

// isAbout reports whether the row is about what the principal manages of its own.
func isAbout(rpc string, p matrixPrincipal, state string) bool {
	if rpc == "TestAccess" {
		return p.account == "serviceAccounts/a-"+state
	}
	name := strings.ReplaceAll(resourceName(matrixRows[rpc].request.ProtoReflect()), "{s}", state)
	return p.account != "" && slices.Contains(ofAccount, rpc) && strings.HasPrefix(name+"/", "tenants/t-there/"+p.account+"/")
}

// shownWant is for those who do not see everything: what they do not see is missing.
func shownWant(rpc string, p matrixPrincipal, state string) codes.Code {
	everywhere := p.role == access.Reader || p.role == access.Writer || p.rule == "registry admin"
	switch {
	case rpc == "ListRegistries", rpc == "SearchContent": // of those that the caller sees
		return codes.OK
	case p.rule == "undeleter", rpc == "ResolveReference" && p.rule != "": // which gives no pull in that registry
		return codes.NotFound
	case state != "there", p.rule == "" && !everywhere && p.role != access.Admin:
		return codes.NotFound
	case everywhere, slices.Contains(ofRepository, rpc):
		return codes.OK
	default:
		return codes.NotFound
	}
}

// promoteWant is for those of the tenant: what they may not pull is missing.
func promoteWant(rpc string, p matrixPrincipal, state string) codes.Code {
	switch {
	case p.role == access.Admin, p.role == access.Writer:
		return foundWant(rpc, state)
	case p.role == access.Reader, p.rule == "puller":
		return codes.PermissionDenied
	default:
		return codes.NotFound
	}
}

// foundWant is for those who see everything that is there.
func foundWant(rpc, state string) codes.Code {
	makes := matrixRows[rpc].makes
	switch {
	case rpc == "ListTenants", rpc == "ListOperators", rpc == "ListOperatorEvents", strings.HasSuffix(rpc, "SigningKeys"), strings.HasSuffix(rpc, "Scrub"), strings.HasSuffix(rpc, "SearchIndex"):
		return codes.OK
	case strings.HasSuffix(rpc, "Backup"):
		return codes.FailedPrecondition // only an embedded deployment makes backups
	case (rpc == "UndeleteTenant" || rpc == "UndeleteRegistry") && state == "there":
		return codes.AlreadyExists
	case state == "deleting" && slices.Contains(takenBack, rpc):
		return codes.OK
	case state == "deleting" && (rpc == "CreateTenant" || rpc == "CreateRegistry"):
		return codes.AlreadyExists
	case makes && state == "there":
		return codes.AlreadyExists
	case makes || state == "there":
		return codes.OK
	default:
		return codes.NotFound
	}
}
