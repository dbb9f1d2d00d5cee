package admin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

func (s *Service) accessRules() collection[meta.AccessRule, *pb.AccessRule] {
	return collection[meta.AccessRule, *pb.AccessRule]{
		service: s, name: "accessRules", noun: "access_rule",
		new: func(_ context.Context, t meta.Tenant, slug string) meta.AccessRule {
			return meta.AccessRule{Tenant: t.ID, Rule: access.Rule{Slug: slug}}
		},
		key: func(r meta.AccessRule) (string, int64) { return r.Slug, r.Version },
		set: s.setAccessRule, show: s.showAccessRules,
		limit: s.limits.AccessRuleLimit(), findRow: s.store.FindAccessRule, listRows: s.store.ListAccessRules,
		createRow: s.store.CreateAccessRule, updateRow: s.store.UpdateAccessRule, deleteRow: s.store.DeleteAccessRule,
	}
}

// CreateAccessRule makes a rule, which counts from now on.
func (s *Service) CreateAccessRule(ctx context.Context, req *pb.CreateAccessRuleRequest) (*pb.AccessRule, error) {
	return s.accessRules().create(ctx, req.GetParent(), req.GetAccessRuleId(), req.GetAccessRule(), req.GetValidateOnly())
}

// GetAccessRule returns one rule.
func (s *Service) GetAccessRule(ctx context.Context, req *pb.GetAccessRuleRequest) (*pb.AccessRule, error) {
	return s.accessRules().get(ctx, req.GetName())
}

// ListAccessRules pages by slug.
func (s *Service) ListAccessRules(ctx context.Context, req *pb.ListAccessRulesRequest) (*pb.ListAccessRulesResponse, error) {
	rows, next, err := s.accessRules().list(ctx, req)
	return &pb.ListAccessRulesResponse{AccessRules: rows, NextPageToken: next}, err
}

// UpdateAccessRule changes what the rule gives or takes, to whom and where.
func (s *Service) UpdateAccessRule(ctx context.Context, req *pb.UpdateAccessRuleRequest) (*pb.AccessRule, error) {
	return s.accessRules().update(ctx, req, req.GetAccessRule())
}

// DeleteAccessRule removes a rule.
func (s *Service) DeleteAccessRule(ctx context.Context, req *pb.DeleteAccessRuleRequest) (*emptypb.Empty, error) {
	return s.accessRules().delete(ctx, req, req.GetEtag())
}

// setAccessRule takes over what a client may set. A new rule that has ended is a mistake.
func (s *Service) setAccessRule(ctx context.Context, t meta.Tenant, r *meta.AccessRule, m *pb.AccessRule) error {
	if end := m.GetExpireTime(); r.Version == 0 && end.IsValid() && !end.AsTime().After(time.Now()) {
		return invalid(fieldRule+"expire_time", "%s is in the past, and the rule would never count; leave it out for a rule without an end", end.AsTime().Format(time.RFC3339))
	}
	return s.setAnyRule(ctx, t, r, m)
}

// setAnyRule is setAccessRule for a rule that may have ended.
func (s *Service) setAnyRule(ctx context.Context, t meta.Tenant, r *meta.AccessRule, m *pb.AccessRule) error {
	if err := checkDisplayName(fieldRule+"display_name", m.GetDisplayName()); err != nil {
		return err
	}
	rule, err := ruleOf(m)
	if err != nil {
		return err
	}
	if err := s.checkNamed(ctx, t, rule); err != nil {
		return err
	}
	rule.Slug = r.Slug
	if err := s.checkCost(ctx, t, rule); err != nil {
		return err
	}
	r.Rule, r.DisplayName, r.Disabled = rule, m.GetDisplayName(), m.GetDisabled()
	return nil
}

// checkCost refuses a rule with which decisions would take long.
func (s *Service) checkCost(ctx context.Context, t meta.Tenant, r access.Rule) error {
	p, err := s.store.AccessPolicy(ctx, t.ID)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(p.Rules, func(one access.Rule) bool { return one.Slug == r.Slug })
	if folder, crowded := access.Crowded(append(others, r)); crowded {
		return invalid(fieldRule+"repositories", "the rules of this tenant have more than %d patterns with a * ? or [ in the folder %q, and each of them is compared with every name there; use patterns such as %q",
			access.MaxSlowPatterns, folder, "team/**")
	}
	return nil
}

// checkNamed looks for what the rule names. The store does so again, when it writes.
func (s *Service) checkNamed(ctx context.Context, t meta.Tenant, r access.Rule) error {
	missing := func(err error, kind, slug, list string, i int) error {
		if fault.Is(err, fault.ResourceUnknown) {
			return invalid(fmt.Sprintf("%s%s[%d]", fieldRule, list, i), "%s %q not found in this tenant", kind, slug)
		}
		return err
	}
	for i, name := range r.Principals {
		if slug, ok := access.GroupOf(name); ok {
			if _, err := s.store.FindPrincipalGroup(ctx, t.ID, slug); err != nil {
				return missing(err, kindPrincipalGroup, slug, "principals", i)
			}
		}
		if kind, slug, ok := access.AccountOf(name); ok {
			if _, err := s.store.FindAccount(ctx, t.ID, kind, slug); err != nil {
				return missing(err, kind.Noun(), slug, "principals", i)
			}
		}
	}
	for i, slug := range r.Registries {
		if !access.IsPattern(slug) {
			if _, err := s.store.FindRegistry(ctx, t.ID, slug); err != nil {
				return missing(err, kindRegistry, slug, "registries", i)
			}
		}
	}
	return nil
}

// showAccessRules reads the tenant's registries once for the warnings of all rules.
func (s *Service) showAccessRules(ctx context.Context, t meta.Tenant) (func(meta.AccessRule) *pb.AccessRule, error) {
	var registries []meta.Registry
	for page := (meta.Page{Size: largestPage}); ; {
		some, err := s.store.ListRegistries(ctx, t.ID, page)
		if err != nil {
			return nil, err
		}
		registries = append(registries, some...)
		if len(some) < page.Size {
			break
		}
		page.After = some[len(some)-1].Slug
	}
	now := time.Now()
	return func(r meta.AccessRule) *pb.AccessRule {
		m := accessRuleMessage(t, r)
		m.Warnings = ruleWarnings(r.Rule, registries, now)
		return m
	}, nil
}

func accessRuleMessage(t meta.Tenant, r meta.AccessRule) *pb.AccessRule {
	m := &pb.AccessRule{
		Name:        "tenants/" + t.Slug + "/accessRules/" + r.Slug,
		DisplayName: r.DisplayName,
		Effect:      pb.AccessRule_ALLOW,
		Principals:  r.Principals, Registries: r.Registries, Repositories: r.Repositories,
		Actions:  actionMessages(r.Actions),
		Disabled: r.Disabled,
	}
	if r.Deny {
		m.Effect = pb.AccessRule_DENY
	}
	for _, n := range r.Networks {
		m.Networks = append(m.Networks, n.String())
	}
	if !r.Until.IsZero() {
		m.ExpireTime = timestamppb.New(r.Until)
	}
	if r.Version != 0 { // else it was only validated
		m.Etag = etag(r.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(r.CreatedAt), timestamppb.New(r.UpdatedAt)
	}
	return m
}
