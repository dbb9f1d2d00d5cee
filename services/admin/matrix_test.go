package admin

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// matrixRows has one request per RPC, by the state of the resource it is about:
// *_there exists, *_missing does not, *_deleting is being deleted. {s} stands
// for the state, and only in the name of that resource. makes says that
// the RPC creates it.
var matrixRows = map[string]struct {
	request proto.Message
	makes   bool
}{
	"CreateTenant":   {&pb.CreateTenantRequest{TenantId: "t-{s}"}, true},
	"GetTenant":      {&pb.GetTenantRequest{Name: "tenants/t-{s}"}, false},
	"ListTenants":    {&pb.ListTenantsRequest{}, false},
	"UpdateTenant":   {&pb.UpdateTenantRequest{Tenant: &pb.Tenant{Name: "tenants/t-{s}", QuotaBytes: 1}}, false},
	"DeleteTenant":   {&pb.DeleteTenantRequest{Name: "tenants/t-{s}", Force: true}, false},
	"UndeleteTenant": {&pb.UndeleteTenantRequest{Name: "tenants/t-{s}"}, false},
	"SuspendTenant":  {&pb.SuspendTenantRequest{Name: "tenants/t-{s}"}, false},
	"ResumeTenant":   {&pb.ResumeTenantRequest{Name: "tenants/t-{s}"}, false},

	"PurgeDigest": {&pb.PurgeDigestRequest{Name: "tenants/t-{s}", Digest: "sha256:" + strings.Repeat("0", 64)}, false},

	"CreateRegistry":   {&pb.CreateRegistryRequest{Parent: "tenants/t-there", RegistryId: "r-{s}"}, true},
	"GetRegistry":      {&pb.GetRegistryRequest{Name: "tenants/t-there/registries/r-{s}"}, false},
	"ListRegistries":   {&pb.ListRegistriesRequest{Parent: "tenants/t-{s}"}, false},
	"UpdateRegistry":   {&pb.UpdateRegistryRequest{Registry: &pb.Registry{Name: "tenants/t-there/registries/r-{s}", DeleteReferrers: true}}, false},
	"DeleteRegistry":   {&pb.DeleteRegistryRequest{Name: "tenants/t-there/registries/r-{s}"}, false},
	"UndeleteRegistry": {&pb.UndeleteRegistryRequest{Name: "tenants/t-there/registries/r-{s}"}, false},

	"GetRepository":        {&pb.GetRepositoryRequest{Name: "tenants/t-there/registries/main/repositories/team/p-{s}"}, false},
	"ListRepositories":     {&pb.ListRepositoriesRequest{Parent: "tenants/t-there/registries/r-{s}"}, false},
	"DeleteRepository":     {&pb.DeleteRepositoryRequest{Name: "tenants/t-there/registries/main/repositories/team/p-{s}"}, false},
	"UndeleteRepository":   {&pb.UndeleteRepositoryRequest{Name: "tenants/t-there/registries/main/repositories/team/u-{s}"}, false},
	"GetRegistrySize":      {&pb.GetRegistrySizeRequest{Name: "tenants/t-there/registries/r-{s}"}, false},
	"GetRepositorySize":    {&pb.GetRepositorySizeRequest{Name: "tenants/t-there/registries/main/repositories/team/p-{s}", Reference: "latest"}, false},
	"ListTagHistory":       {&pb.ListTagHistoryRequest{Name: "tenants/t-there/registries/main/repositories/team/p-{s}", Tag: "latest"}, false},
	"DeleteTag":            {&pb.DeleteTagRequest{Name: "tenants/t-there/registries/main/repositories/team/p-{s}", Tag: "latest"}, false},
	"ListDeletedManifests": {&pb.ListDeletedManifestsRequest{Name: "tenants/t-there/registries/main/repositories/team/p-{s}"}, false},
	"UndeleteManifest":     {&pb.UndeleteManifestRequest{Name: "tenants/t-there/registries/main/repositories/team/p-{s}", Digest: matrixDeleted.Digest.String()}, false},
	"UndeleteTag":          {&pb.UndeleteTagRequest{Name: "tenants/t-there/registries/main/repositories/team/p-{s}", Tag: "old"}, false},
	"PromoteImage":         {&pb.PromoteImageRequest{Name: "tenants/t-there/registries/main/repositories/team/p-{s}", Tag: "latest", ToTag: "stable"}, false},
	"ListTags":             {&pb.ListTagsRequest{Name: "tenants/t-there/registries/main/repositories/team/p-{s}"}, false},

	"ListNameClaims":   {&pb.ListNameClaimsRequest{Parent: "tenants/t-there/registries/r-{s}"}, false},
	"ReleaseNameClaim": {&pb.ReleaseNameClaimRequest{Name: "tenants/t-there/registries/main/nameClaims/team/n-{s}"}, false},

	"ResolveReference": {&pb.ResolveReferenceRequest{Name: "tenants/t-there/registries/r-{s}", Reference: "app:1"}, false},

	"CreateUpstream": {&pb.CreateUpstreamRequest{
		Parent: "tenants/t-there", UpstreamId: "u-{s}", Upstream: &pb.Upstream{Url: "https://registry.example"},
	}, true},
	"GetUpstream":            {&pb.GetUpstreamRequest{Name: "tenants/t-there/upstreams/u-{s}"}, false},
	"ListUpstreams":          {&pb.ListUpstreamsRequest{Parent: "tenants/t-{s}"}, false},
	"UpdateUpstream":         {&pb.UpdateUpstreamRequest{Upstream: &pb.Upstream{Name: "tenants/t-there/upstreams/u-{s}", MaxBytes: 1}}, false},
	"DeleteUpstream":         {&pb.DeleteUpstreamRequest{Name: "tenants/t-there/upstreams/u-{s}"}, false},
	"PurgeUpstream":          {&pb.PurgeUpstreamRequest{Name: "tenants/t-there/upstreams/u-{s}"}, false},
	"RefreshUpstream":        {&pb.RefreshUpstreamRequest{Name: "tenants/t-there/upstreams/u-{s}", Repository: "app", Reference: "1"}, false},
	"GetCachedRepository":    {&pb.GetCachedRepositoryRequest{Name: "tenants/t-there/upstreams/u-there/repositories/team/c-{s}"}, false},
	"ListCachedRepositories": {&pb.ListCachedRepositoriesRequest{Parent: "tenants/t-there/upstreams/u-{s}"}, false},

	"CreateUpstreamGroup": {&pb.CreateUpstreamGroupRequest{Parent: "tenants/t-there", UpstreamGroupId: "g-{s}"}, true},
	"GetUpstreamGroup":    {&pb.GetUpstreamGroupRequest{Name: "tenants/t-there/upstreamGroups/g-{s}"}, false},
	"ListUpstreamGroups":  {&pb.ListUpstreamGroupsRequest{Parent: "tenants/t-{s}"}, false},
	"UpdateUpstreamGroup": {&pb.UpdateUpstreamGroupRequest{UpstreamGroup: &pb.UpstreamGroup{Name: "tenants/t-there/upstreamGroups/g-{s}", Members: []*pb.UpstreamGroup_Member{{Kind: &pb.UpstreamGroup_Member_Registry{Registry: "r-there"}}}}}, false},
	"DeleteUpstreamGroup": {&pb.DeleteUpstreamGroupRequest{Name: "tenants/t-there/upstreamGroups/g-{s}"}, false},

	"CreateMirrorHost": {&pb.CreateMirrorHostRequest{
		Parent: "tenants/t-there", MirrorHostId: "mh-{s}", MirrorHost: &pb.MirrorHost{Target: &pb.MirrorHost_Upstream{Upstream: "u-mirrored"}},
	}, true},
	"GetMirrorHost":    {&pb.GetMirrorHostRequest{Name: "tenants/t-there/mirrorHosts/mh-{s}"}, false},
	"ListMirrorHosts":  {&pb.ListMirrorHostsRequest{Parent: "tenants/t-{s}"}, false},
	"UpdateMirrorHost": {&pb.UpdateMirrorHostRequest{MirrorHost: &pb.MirrorHost{Name: "tenants/t-there/mirrorHosts/mh-{s}", CachedOnly: true}}, false},
	"RotateMirrorHost": {&pb.RotateMirrorHostRequest{Name: "tenants/t-there/mirrorHosts/mh-{s}"}, false},
	"DeleteMirrorHost": {&pb.DeleteMirrorHostRequest{Name: "tenants/t-there/mirrorHosts/mh-{s}"}, false},

	"CreateDomain": {&pb.CreateDomainRequest{Parent: "tenants/t-there", DomainId: "d-{s}.example", Domain: &pb.Domain{Registry: "main"}}, true},
	"GetDomain":    {&pb.GetDomainRequest{Name: "tenants/t-there/domains/d-{s}.example"}, false},
	"ListDomains":  {&pb.ListDomainsRequest{Parent: "tenants/t-{s}"}, false},
	"UpdateDomain": {&pb.UpdateDomainRequest{Domain: &pb.Domain{Name: "tenants/t-there/domains/d-{s}.example", Registry: "main"}}, false},
	"DeleteDomain": {&pb.DeleteDomainRequest{Name: "tenants/t-there/domains/d-{s}.example"}, false},
	"VerifyDomain": {&pb.VerifyDomainRequest{Name: "tenants/t-there/domains/d-{s}.example"}, false},

	"CreateServiceAccount": {&pb.CreateServiceAccountRequest{
		Parent: "tenants/t-there", ServiceAccountId: "a-{s}", ServiceAccount: &pb.ServiceAccount{Role: pb.ServiceAccount_READER},
	}, true},
	"GetServiceAccount":   {&pb.GetServiceAccountRequest{Name: "tenants/t-there/serviceAccounts/a-{s}"}, false},
	"ListServiceAccounts": {&pb.ListServiceAccountsRequest{Parent: "tenants/t-{s}"}, false},
	"UpdateServiceAccount": {&pb.UpdateServiceAccountRequest{
		ServiceAccount: &pb.ServiceAccount{Name: "tenants/t-there/serviceAccounts/a-{s}", Disabled: true},
		UpdateMask:     &fieldmaskpb.FieldMask{Paths: []string{"disabled"}},
	}, false},
	"DeleteServiceAccount":    {&pb.DeleteServiceAccountRequest{Name: "tenants/t-there/serviceAccounts/a-{s}"}, false},
	"RevokeTokens":            {&pb.RevokeTokensRequest{Name: "tenants/t-there/serviceAccounts/a-{s}"}, false},
	"ListRefreshTokens":       {&pb.ListRefreshTokensRequest{Parent: "tenants/t-there/serviceAccounts/a-{s}"}, false},
	"DeleteRefreshToken":      {&pb.DeleteRefreshTokenRequest{Name: "tenants/t-there/serviceAccounts/a-there/refreshTokens/r-{s}"}, false},
	"CreateServiceAccountKey": {&pb.CreateServiceAccountKeyRequest{Parent: "tenants/t-there/serviceAccounts/a-{s}"}, false},
	"ListServiceAccountKeys":  {&pb.ListServiceAccountKeysRequest{Parent: "tenants/t-there/serviceAccounts/a-{s}"}, false},
	"DeleteServiceAccountKey": {&pb.DeleteServiceAccountKeyRequest{Name: "tenants/t-there/serviceAccounts/a-there/keys/k-{s}"}, false},

	"CreateTrust": {&pb.CreateTrustRequest{
		Parent: "tenants/t-there/serviceAccounts/a-there", TrustId: "tr-{s}",
		Trust: &pb.Trust{Issuer: "https://issuer.example", Condition: `claims.sub == "job"`},
	}, true},
	"GetTrust":    {&pb.GetTrustRequest{Name: "tenants/t-there/serviceAccounts/a-there/trusts/tr-{s}"}, false},
	"ListTrusts":  {&pb.ListTrustsRequest{Parent: "tenants/t-there/serviceAccounts/a-{s}"}, false},
	"DeleteTrust": {&pb.DeleteTrustRequest{Name: "tenants/t-there/serviceAccounts/a-there/trusts/tr-{s}"}, false},

	"CreateUser": {&pb.CreateUserRequest{
		Parent: "tenants/t-there", UserId: "us-{s}", User: &pb.User{Role: pb.ServiceAccount_MEMBER},
	}, true},
	"GetUser":   {&pb.GetUserRequest{Name: "tenants/t-there/users/us-{s}"}, false},
	"ListUsers": {&pb.ListUsersRequest{Parent: "tenants/t-{s}"}, false},
	"UpdateUser": {&pb.UpdateUserRequest{
		User:       &pb.User{Name: "tenants/t-there/users/us-{s}", Disabled: true},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"disabled"}},
	}, false},
	"DeleteUser":        {&pb.DeleteUserRequest{Name: "tenants/t-there/users/us-{s}"}, false},
	"ChangePassword":    {&pb.ChangePasswordRequest{Name: "tenants/t-there/users/us-{s}", CurrentPassword: matrixPassword, NewPassword: "another of the matrix"}, false},
	"CreateAccessToken": {&pb.CreateAccessTokenRequest{Parent: "tenants/t-there/users/us-{s}"}, false},
	"ListAccessTokens":  {&pb.ListAccessTokensRequest{Parent: "tenants/t-there/users/us-{s}"}, false},
	"DeleteAccessToken": {&pb.DeleteAccessTokenRequest{Name: "tenants/t-there/users/us-there/accessTokens/k-{s}"}, false},

	"CreateAccessRule": {&pb.CreateAccessRuleRequest{
		Parent: "tenants/t-there", AccessRuleId: "ar-{s}", AccessRule: &pb.AccessRule{
			Effect: pb.AccessRule_ALLOW, Principals: []string{"authenticated"}, Repositories: []string{"**"}, Actions: []pb.AccessRule_Action{pb.AccessRule_PULL},
		},
	}, true},
	"GetAccessRule":    {&pb.GetAccessRuleRequest{Name: "tenants/t-there/accessRules/ar-{s}"}, false},
	"ListAccessRules":  {&pb.ListAccessRulesRequest{Parent: "tenants/t-{s}"}, false},
	"UpdateAccessRule": {&pb.UpdateAccessRuleRequest{AccessRule: &pb.AccessRule{Name: "tenants/t-there/accessRules/ar-{s}", Disabled: true}}, false},
	"DeleteAccessRule": {&pb.DeleteAccessRuleRequest{Name: "tenants/t-there/accessRules/ar-{s}"}, false},

	"CreateRetentionPolicy": {&pb.CreateRetentionPolicyRequest{Parent: "tenants/t-there", RetentionPolicyId: "rp-{s}", RetentionPolicy: matrixPolicy}, true},
	"GetRetentionPolicy":    {&pb.GetRetentionPolicyRequest{Name: "tenants/t-there/retentionPolicies/rp-{s}"}, false},
	"ListRetentionPolicies": {&pb.ListRetentionPoliciesRequest{Parent: "tenants/t-{s}"}, false},
	"UpdateRetentionPolicy": {&pb.UpdateRetentionPolicyRequest{RetentionPolicy: &pb.RetentionPolicy{Name: "tenants/t-there/retentionPolicies/rp-{s}", DisplayName: "Idle"}}, false},
	"DeleteRetentionPolicy": {&pb.DeleteRetentionPolicyRequest{Name: "tenants/t-there/retentionPolicies/rp-{s}"}, false},
	"SimulateRetention":     {&pb.SimulateRetentionRequest{Name: "tenants/t-{s}", RetentionPolicy: matrixPolicy}, false},
	"ExplainRetention":      {&pb.ExplainRetentionRequest{Name: "tenants/t-there/registries/main/repositories/team/p-{s}", Reference: "latest"}, false},
	"RunRetentionPolicy":    {&pb.RunRetentionPolicyRequest{Name: "tenants/t-there/retentionPolicies/rp-{s}"}, false},

	"CreatePrefetch":           {&pb.CreatePrefetchRequest{Parent: "tenants/t-there", PrefetchId: "pf-{s}", Prefetch: &pb.Prefetch{Upstream: "u-mirrored", References: []string{"app:1"}}}, true},
	"GetPrefetch":              {&pb.GetPrefetchRequest{Name: "tenants/t-there/prefetches/pf-{s}"}, false},
	"ListPrefetches":           {&pb.ListPrefetchesRequest{Parent: "tenants/t-{s}"}, false},
	"UpdatePrefetch":           {&pb.UpdatePrefetchRequest{Prefetch: &pb.Prefetch{Name: "tenants/t-there/prefetches/pf-{s}", DisplayName: "Idle"}}, false},
	"DeletePrefetch":           {&pb.DeletePrefetchRequest{Name: "tenants/t-there/prefetches/pf-{s}"}, false},
	"RunPrefetch":              {&pb.RunPrefetchRequest{Name: "tenants/t-there/prefetches/pf-{s}"}, false},
	"ListPrefetchedReferences": {&pb.ListPrefetchedReferencesRequest{Parent: "tenants/t-there/prefetches/pf-{s}"}, false},

	"CreateTagRule": {&pb.CreateTagRuleRequest{Parent: "tenants/t-there", TagRuleId: "tl-{s}", TagRule: &pb.TagRule{NoDelete: true, Disabled: true}}, true},
	"GetTagRule":    {&pb.GetTagRuleRequest{Name: "tenants/t-there/tagRules/tl-{s}"}, false},
	"ListTagRules":  {&pb.ListTagRulesRequest{Parent: "tenants/t-{s}"}, false},
	"UpdateTagRule": {&pb.UpdateTagRuleRequest{TagRule: &pb.TagRule{Name: "tenants/t-there/tagRules/tl-{s}", DisplayName: "Idle"}}, false},
	"DeleteTagRule": {&pb.DeleteTagRuleRequest{Name: "tenants/t-there/tagRules/tl-{s}"}, false},

	"CreatePromotionGate":      {&pb.CreatePromotionGateRequest{Parent: "tenants/t-there", PromotionGateId: "gt-{s}", PromotionGate: &pb.PromotionGate{AnotherCaller: true, Disabled: true}}, true},
	"GetPromotionGate":         {&pb.GetPromotionGateRequest{Name: "tenants/t-there/promotionGates/gt-{s}"}, false},
	"ListPromotionGates":       {&pb.ListPromotionGatesRequest{Parent: "tenants/t-{s}"}, false},
	"UpdatePromotionGate":      {&pb.UpdatePromotionGateRequest{PromotionGate: &pb.PromotionGate{Name: "tenants/t-there/promotionGates/gt-{s}", DisplayName: "Idle"}}, false},
	"DeletePromotionGate":      {&pb.DeletePromotionGateRequest{Name: "tenants/t-there/promotionGates/gt-{s}"}, false},
	"CreateWebhook":            {&pb.CreateWebhookRequest{Parent: "tenants/t-there", WebhookId: "wh-{s}", Webhook: &pb.Webhook{Url: "https://hooks.example.com/", Secret: webhookSecret, Disabled: true}}, true},
	"GetWebhook":               {&pb.GetWebhookRequest{Name: "tenants/t-there/webhooks/wh-{s}"}, false},
	"ListWebhooks":             {&pb.ListWebhooksRequest{Parent: "tenants/t-{s}"}, false},
	"UpdateWebhook":            {&pb.UpdateWebhookRequest{Webhook: &pb.Webhook{Name: "tenants/t-there/webhooks/wh-{s}", DisplayName: "Idle"}}, false},
	"DeleteWebhook":            {&pb.DeleteWebhookRequest{Name: "tenants/t-there/webhooks/wh-{s}"}, false},
	"ListWebhookDeliveries":    {&pb.ListWebhookDeliveriesRequest{Parent: "tenants/t-there/webhooks/wh-{s}"}, false},
	"GetWebhookDelivery":       {&pb.GetWebhookDeliveryRequest{Name: "tenants/t-there/webhooks/wh-{s}/deliveries/1"}, false},
	"RedeliverWebhookDelivery": {&pb.RedeliverWebhookDeliveryRequest{Name: "tenants/t-there/webhooks/wh-{s}/deliveries/1"}, false},
	"CreatePullRule":           {&pb.CreatePullRuleRequest{Parent: "tenants/t-there", PullRuleId: "pl-{s}", PullRule: &pb.PullRule{ArtifactTypes: []string{"a/b"}, Disabled: true}}, true},
	"GetPullRule":              {&pb.GetPullRuleRequest{Name: "tenants/t-there/pullRules/pl-{s}"}, false},
	"ListPullRules":            {&pb.ListPullRulesRequest{Parent: "tenants/t-{s}"}, false},
	"UpdatePullRule":           {&pb.UpdatePullRuleRequest{PullRule: &pb.PullRule{Name: "tenants/t-there/pullRules/pl-{s}", DisplayName: "Idle"}}, false},
	"DeletePullRule":           {&pb.DeletePullRuleRequest{Name: "tenants/t-there/pullRules/pl-{s}"}, false},

	"TestAccess": {&pb.TestAccessRequest{Name: "tenants/t-there", Principal: "serviceAccounts/a-{s}", Registry: "main", Reference: "app:1"}, false},

	"CreateGroup": {&pb.CreateGroupRequest{Parent: "tenants/t-there", GroupId: "pg-{s}", Group: &pb.Group{}}, true},
	"GetGroup":    {&pb.GetGroupRequest{Name: "tenants/t-there/groups/pg-{s}"}, false},
	"ListGroups":  {&pb.ListGroupsRequest{Parent: "tenants/t-{s}"}, false},
	"UpdateGroup": {&pb.UpdateGroupRequest{Group: &pb.Group{Name: "tenants/t-there/groups/pg-{s}", DisplayName: "Dev"}}, false},
	"DeleteGroup": {&pb.DeleteGroupRequest{Name: "tenants/t-there/groups/pg-{s}"}, false},

	"CreateIdentityProvider":       {&pb.CreateIdentityProviderRequest{Parent: "tenants/t-there", IdentityProviderId: "ip-{s}", IdentityProvider: &pb.IdentityProvider{Ldap: matrixLDAP}}, true},
	"GetIdentityProvider":          {&pb.GetIdentityProviderRequest{Name: "tenants/t-there/identityProviders/ip-{s}"}, false},
	"ListIdentityProviders":        {&pb.ListIdentityProvidersRequest{Parent: "tenants/t-{s}"}, false},
	"ListOfferedIdentityProviders": {&pb.ListOfferedIdentityProvidersRequest{Parent: "tenants/t-{s}"}, false},
	"UpdateIdentityProvider":       {&pb.UpdateIdentityProviderRequest{IdentityProvider: &pb.IdentityProvider{Name: "tenants/t-there/identityProviders/ip-{s}", DisplayName: "Corp"}}, false},
	"DeleteIdentityProvider":       {&pb.DeleteIdentityProviderRequest{Name: "tenants/t-there/identityProviders/ip-{s}"}, false},

	"GetCaller":             {&pb.GetCallerRequest{}, false},
	"ListCallerAccessRules": {&pb.ListCallerAccessRulesRequest{}, false},
	"ListSessions":          {&pb.ListSessionsRequest{Parent: "tenants/t-there/users/us-{s}"}, false},
	"DeleteSession":         {&pb.DeleteSessionRequest{Name: "tenants/t-there/users/us-there/sessions/s-{s}"}, false},

	"CreateOperator": {&pb.CreateOperatorRequest{OperatorId: "o-{s}"}, true},
	"GetOperator":    {&pb.GetOperatorRequest{Name: "operators/o-{s}"}, false},
	"ListOperators":  {&pb.ListOperatorsRequest{}, false},
	"UpdateOperator": {&pb.UpdateOperatorRequest{Operator: &pb.Operator{Name: "operators/o-{s}", DisplayName: "O"}}, false},
	"DeleteOperator": {&pb.DeleteOperatorRequest{Name: "operators/o-{s}"}, false},

	"CreateOperatorToken": {&pb.CreateOperatorTokenRequest{Parent: "operators/o-{s}"}, false},
	"ListOperatorTokens":  {&pb.ListOperatorTokensRequest{Parent: "operators/o-{s}"}, false},
	"DeleteOperatorToken": {&pb.DeleteOperatorTokenRequest{Name: "operators/o-there/tokens/k-{s}"}, false},

	"ListEvents":         {&pb.ListEventsRequest{Parent: "tenants/t-{s}"}, false},
	"ListOperatorEvents": {&pb.ListOperatorEventsRequest{}, false},
	"GetUsage":           {&pb.GetUsageRequest{Name: "tenants/t-{s}/usage"}, false},
	"ListUsage":          {&pb.ListUsageRequest{Parent: "tenants/t-{s}"}, false},

	"ListSigningKeys":   {&pb.ListSigningKeysRequest{}, false},
	"RotateSigningKeys": {&pb.RotateSigningKeysRequest{}, false},

	"GetScrub":           {&pb.GetScrubRequest{}, false},
	"GetSearchIndex":     {&pb.GetSearchIndexRequest{}, false},
	"RecountUsage":       {&pb.RecountUsageRequest{Name: "tenants/t-{s}/usage"}, false},
	"RebuildSearchIndex": {&pb.RebuildSearchIndexRequest{}, false},
	"SearchContent":      {&pb.SearchContentRequest{Name: "tenants/t-{s}", Query: "app"}, false},

	"StartScrub": {&pb.StartScrubRequest{}, false},
	"StopScrub":  {&pb.StopScrubRequest{}, false},

	"CreateBackup": {&pb.CreateBackupRequest{}, false},
	"RenewBackup":  {&pb.RenewBackupRequest{Name: "backups/b-{s}"}, false},
	"DeleteBackup": {&pb.DeleteBackupRequest{Name: "backups/b-{s}"}, false},
}

// matrixLDAP is a directory, as people bind to by themselves.
var matrixLDAP = &pb.IdentityProvider_Ldap{Servers: []string{"ldaps://ldap.example"}, UserDn: "uid={name},ou=people,dc=example"}

// corpDirectory is the same, over REST.
const corpDirectory = `{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},ou=people,dc=example"}}`

// matrixDeleted is a manifest in the trash of the repositories that rows are about.
var matrixDeleted = ocitest.Extra{ArtifactType: "application/vnd.berth.gone"}.Index()

// matrixPassword is that of users/us-there.
const matrixPassword = "password of the matrix"

// matrixRequest is the row's request for one state. It changes nothing: whatever
// could is marked validate_only.
func matrixRequest(t *testing.T, rpc, state string) proto.Message {
	t.Helper()
	row, ok := matrixRows[rpc]
	if !ok {
		t.Fatalf("%s has no row in the matrix", rpc)
	}
	req := row.request.ProtoReflect().New().Interface()
	text := strings.ReplaceAll(prototext.Format(row.request), "{s}", state)
	if err := prototext.Unmarshal([]byte(text), req); err != nil {
		t.Fatal(err)
	}
	if fd := req.ProtoReflect().Descriptor().Fields().ByName("validate_only"); fd != nil {
		req.ProtoReflect().Set(fd, protoreflect.ValueOfBool(true))
	}
	return req
}

// matrixPolicy deletes nothing, and keepAll is the same as a body.
var matrixPolicy = &pb.RetentionPolicy{Rules: []*pb.RetentionPolicy_Rule{{Name: "all", Action: pb.RetentionPolicy_Rule_KEEP}}}

const keepAll = `{"rules": [{"name": "all", "action": "KEEP"}]}`

// idleRule gives nothing in the registries of these tests.
const idleRule = `{"effect": "ALLOW", "principals": ["authenticated"], "registries": ["none-*"], "repositories": ["**"], "actions": ["PULL"]}`

// resources makes what the rows speak of.
func resources(t *testing.T, a *api) {
	t.Helper()
	ctx := t.Context()
	a.call(200, "POST", "/v1/tenants?tenant_id=t-deleting", "")
	a.call(200, "DELETE", "/v1/tenants/t-deleting", "")
	a.call(200, "POST", "/v1/tenants/t-there/upstreams?upstream_id=u-mirrored", `{"url": "https://registry.example"}`)
	for _, state := range []string{"there", "deleting"} {
		a.call(200, "POST", "/v1/tenants/t-there/mirrorHosts?mirror_host_id=mh-"+state, `{"upstream": "u-mirrored"}`)
		a.call(200, "POST", "/v1/tenants/t-there/registries?registry_id=r-"+state, "")
		a.call(200, "POST", "/v1/tenants/t-there/domains?domain_id=d-"+state+".example", `{"registry": "main"}`)
		a.call(200, "POST", "/v1/tenants/t-there/serviceAccounts?service_account_id=a-"+state, `{"role": "READER"}`)
		a.call(200, "POST", "/v1/tenants/t-there/users?user_id=us-"+state, `{"role": "MEMBER", "password": "`+matrixPassword+`"}`)
		a.push("t-there", "main", "team/p-"+state, "latest", "old")
		a.call(200, "POST", "/v1/tenants/t-there/registries/main/repositories/team/p-"+state+":deleteTag", `{"tag": "old"}`)
		a.delete(a.pushContent("t-there", "main", "team/p-"+state, matrixDeleted, "gone"), matrixDeleted.Digest)
		a.push("t-there", "main", "team/u-"+state, "latest")
		a.push("t-there", "main", "team/n-"+state, "latest")
		a.call(200, "DELETE", "/v1/tenants/t-there/registries/main/repositories/team/n-"+state, "")
		a.call(200, "POST", "/v1/tenants/t-there/upstreams?upstream_id=u-"+state, `{"url": "https://registry.example"}`)
		a.call(200, "POST", "/v1/tenants/t-there/upstreamGroups?upstream_group_id=g-"+state, "")
		a.call(200, "POST", "/v1/tenants/t-there/accessRules?access_rule_id=ar-"+state, idleRule)
		a.call(200, "POST", "/v1/tenants/t-there/webhooks?webhook_id=wh-"+state, `{"url": "https://hooks.example.com/", "secret": "`+webhookSecret+`", "events": ["tagRule.create"]}`)
		a.call(200, "POST", "/v1/tenants/t-there/tagRules?tag_rule_id=tl-"+state, `{"no_delete": true, "disabled": true}`)
		a.call(200, "POST", "/v1/tenants/t-there/promotionGates?promotion_gate_id=gt-"+state, `{"another_caller": true, "disabled": true}`)
		a.call(200, "POST", "/v1/tenants/t-there/pullRules?pull_rule_id=pl-"+state, `{"artifact_types": ["a/b"], "disabled": true}`)
		a.call(200, "POST", "/v1/tenants/t-there/retentionPolicies?retention_policy_id=rp-"+state, keepAll)
		a.call(200, "POST", "/v1/tenants/t-there/prefetches?prefetch_id=pf-"+state, `{"upstream": "u-mirrored", "references": ["app:1"]}`)
		a.call(200, "POST", "/v1/tenants/t-there/groups?group_id=pg-"+state, "")
		a.call(200, "POST", "/v1/tenants/t-there/identityProviders?identity_provider_id=ip-"+state, corpDirectory)
		a.call(200, "POST", "/v1/operators?operator_id=o-"+state, "")
	}
	for _, state := range []string{"there", "deleting"} {
		a.call(200, "POST", "/v1/tenants/t-there/serviceAccounts/a-there/trusts?trust_id=tr-"+state, `{"issuer": "https://issuer.example", "condition": "claims.sub == 'job'"}`)
		a.cache("t-there", "u-there", "team/c-"+state, "latest")
	}
	a.call(200, "DELETE", "/v1/tenants/t-there/registries/main/repositories/team/u-there", "")
	a.call(200, "POST", "/v1/tenants/t-there/registries/main/nameClaims/team/n-deleting:release", "{}")
	a.call(200, "POST", "/v1/tenants/t-there/upstreams/u-there:purge", `{"repository": "team/c-deleting"}`)
	tn, err := a.store.FindTenant(ctx, "t-there")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"r-there", "r-deleting"} {
		a.refreshToken("t-there", "a-there", name)
	}
	for _, name := range []string{"k-there", "k-deleting"} {
		k := meta.AccountKey{Name: name, Hash: sha256.Sum256([]byte(newSecret(secretPrefix))), ExpiresAt: time.Now().Add(time.Hour)}
		if _, err := a.store.CreateAccountKey(ctx, meta.Cause{Op: uuid.New()}, tn.ID, access.ServiceKind, "a-there", k); err != nil {
			t.Fatal(err)
		}
		if _, err := a.store.CreateOperatorToken(ctx, meta.Cause{Op: uuid.New()}, "o-there", k); err != nil {
			t.Fatal(err)
		}
		if _, err := a.store.CreateAccountKey(ctx, meta.Cause{Op: uuid.New()}, tn.ID, access.UserKind, "us-there", k); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"s-there", "s-deleting"} {
		a.storedSession("t-there", "us-there", name)
	}
	a.makeDeliveries()
	a.call(200, "DELETE", "/v1/operators/o-deleting", "")
	a.call(200, "DELETE", "/v1/operators/o-there/tokens/k-deleting", "")
	for _, path := range []string{
		"registries/r-deleting", "domains/d-deleting.example", "serviceAccounts/a-deleting",
		"serviceAccounts/a-there/keys/k-deleting", "serviceAccounts/a-there/trusts/tr-deleting", "serviceAccounts/a-there/refreshTokens/r-deleting", "registries/main/repositories/team/p-deleting",
		"users/us-deleting", "users/us-there/accessTokens/k-deleting", "users/us-there/sessions/s-deleting",
		"upstreams/u-deleting", "upstreamGroups/g-deleting", "mirrorHosts/mh-deleting", "accessRules/ar-deleting", "tagRules/tl-deleting", "promotionGates/gt-deleting", "pullRules/pl-deleting", "webhooks/wh-deleting", "retentionPolicies/rp-deleting", "prefetches/pf-deleting", "groups/pg-deleting", "identityProviders/ip-deleting",
	} {
		a.call(200, "DELETE", "/v1/tenants/t-there/"+path, "")
	}
}

// A tenant's admin learns nothing of other tenants: the same words for one that
// exists, one that does not and one that is being deleted.
func TestC7_AnotherTenantAndNoTenantLookTheSame(t *testing.T) {
	a := newAPI(t)
	admin := principals(t, a)["another's admin"].secret()
	resources(t, a)
	var first []byte
	for _, slug := range []string{"t-there", "t-missing", "t-deleting", "t-stopped", "T", ""} {
		resp, text := a.send(admin, "GET", "/v1/tenants/"+slug+"/registries", "")
		if resp.StatusCode != 403 {
			t.Errorf("%q: %d", slug, resp.StatusCode)
		}
		if first == nil {
			first = text
		}
		if string(text) != string(first) {
			t.Errorf("%q: %s, and not %s", slug, text, first)
		}
	}
}

func invoke(ctx context.Context, t *testing.T, conn *grpc.ClientConn, rpc string, req proto.Message) error {
	t.Helper()
	m := pb.File_berth_admin_v1_admin_proto.Services().ByName("AdminService").Methods().ByName(protoreflect.Name(rpc))
	resp := newMessage(t, m.Output())
	return conn.Invoke(ctx, "/berth.admin.v1.AdminService/"+rpc, req, resp)
}
