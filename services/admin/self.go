package admin

import (
	"context"
	"slices"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
)

// GetCaller says who the caller is.
func (s *Service) GetCaller(ctx context.Context, _ *pb.GetCallerRequest) (*pb.Caller, error) {
	c := callerOf(ctx)
	m := &pb.Caller{Principal: c.actor()}
	if c.operator {
		return m, nil
	}
	t, a, err := s.callersAccount(ctx)
	if err != nil {
		return nil, err
	}
	m.Tenant, m.DisplayName = "tenants/"+t.Slug, a.DisplayName
	m.Role = pb.ServiceAccount_Role(pb.ServiceAccount_Role_value[string(a.Role)])
	if m.Groups, err = s.groupsOf(ctx, t.ID, c.principal); err != nil {
		return nil, err
	}
	if c.principal.Key == "" {
		return m, nil
	}
	k, err := s.usedKey(ctx)
	if err != nil {
		return nil, err
	}
	list := s.accountKeys().name
	if a.Kind == access.UserKind {
		list = s.accessTokens().name
	}
	m.Credential, m.CredentialExpireTime = m.GetTenant()+"/"+c.principal.Name+"/"+list+"/"+k.Name, timeOrNone(k.ExpiresAt)
	return m, nil
}

// callersAccount finds the account of the caller, and its tenant.
func (s *Service) callersAccount(ctx context.Context) (meta.Tenant, meta.Account, error) {
	p := callerOf(ctx).principal
	t, err := s.store.FindTenantByID(ctx, p.Tenant)
	if err != nil {
		return t, meta.Account{}, err
	}
	kind, slug, _ := access.AccountOf(p.Name)
	a, err := s.store.FindAccount(ctx, p.Tenant, kind, slug)
	return t, a, err
}

// usedKey is the key or access token that the caller used.
func (s *Service) usedKey(ctx context.Context) (meta.AccountKey, error) {
	p := callerOf(ctx).principal
	kind, slug, _ := access.AccountOf(p.Name)
	keys, err := s.store.ListAccountKeys(ctx, p.Tenant, kind, slug)
	if err != nil {
		return meta.AccountKey{}, err
	}
	i := slices.IndexFunc(keys, func(k meta.AccountKey) bool { return k.Name == p.Key })
	if i < 0 {
		return meta.AccountKey{}, unauthenticated("the token is not valid") // it was deleted meanwhile
	}
	return keys[i], nil
}

// ListCallerAccessRules pages by slug the rules that name the caller, without what they say of
// others. No rule names an operator.
func (s *Service) ListCallerAccessRules(ctx context.Context, req *pb.ListCallerAccessRulesRequest) (*pb.ListAccessRulesResponse, error) {
	p := callerOf(ctx).principal
	m := &pb.ListAccessRulesResponse{}
	if p.Anonymous() {
		return m, nil
	}
	t, _, err := s.callersAccount(ctx)
	if err != nil {
		return nil, err
	}
	names, err := s.groupsOf(ctx, t.ID, p)
	if err != nil {
		return nil, err
	}
	groups := access.SetOfGroups(names)
	all, err := s.allAccessRules(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	naming := slices.DeleteFunc(all, func(r meta.AccessRule) bool { return len(r.Naming(p, groups)) == 0 })
	rows, next, err := pageOfAll(s, "callerAccessRules", t.Slug+"/"+p.Name, req, naming, func(r meta.AccessRule) string { return r.Slug })
	m.AccessRules = mapped(rows, func(r meta.AccessRule) *pb.AccessRule { return ownRuleMessage(t, r, r.Naming(p, groups)) })
	m.NextPageToken = next
	return m, err
}

// ownRuleMessage leaves out who else the rule names, and what it is for.
func ownRuleMessage(t meta.Tenant, r meta.AccessRule, names []string) *pb.AccessRule {
	m := accessRuleMessage(t, r)
	m.Principals, m.DisplayName, m.Etag = names, "", ""
	return m
}
