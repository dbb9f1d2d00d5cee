package admin

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
)

// fieldTagRule begins the fields of a tag rule in a request.
const fieldTagRule = "tag_rule."

func (s *Service) tagRules() collection[meta.TagRule, *pb.TagRule] {
	return collection[meta.TagRule, *pb.TagRule]{
		service: s, name: "tagRules", noun: "tag_rule",
		new: func(_ context.Context, t meta.Tenant, slug string) meta.TagRule {
			return meta.TagRule{Tenant: t.ID, Rule: tagrule.Rule{Slug: slug}}
		},
		key: func(r meta.TagRule) (string, int64) { return r.Slug, r.Version },
		set: s.setTagRule, show: shown(tagRuleMessage),
		limit: s.limits.TagRuleLimit(), findRow: s.store.FindTagRule, listRows: s.store.ListTagRules,
		createRow: s.store.CreateTagRule, updateRow: s.store.UpdateTagRule, deleteRow: s.store.DeleteTagRule,
	}
}

// CreateTagRule makes a rule, which counts from now on.
func (s *Service) CreateTagRule(ctx context.Context, req *pb.CreateTagRuleRequest) (*pb.TagRule, error) {
	return s.tagRules().create(ctx, req.GetParent(), req.GetTagRuleId(), req.GetTagRule(), req.GetValidateOnly())
}

// GetTagRule returns one rule.
func (s *Service) GetTagRule(ctx context.Context, req *pb.GetTagRuleRequest) (*pb.TagRule, error) {
	return s.tagRules().get(ctx, req.GetName())
}

// ListTagRules pages by slug.
func (s *Service) ListTagRules(ctx context.Context, req *pb.ListTagRulesRequest) (*pb.ListTagRulesResponse, error) {
	rows, next, err := s.tagRules().list(ctx, req)
	return &pb.ListTagRulesResponse{TagRules: rows, NextPageToken: next}, err
}

// UpdateTagRule changes which tags the rule protects, and from what.
func (s *Service) UpdateTagRule(ctx context.Context, req *pb.UpdateTagRuleRequest) (*pb.TagRule, error) {
	return s.tagRules().update(ctx, req, req.GetTagRule())
}

// DeleteTagRule removes a rule.
func (s *Service) DeleteTagRule(ctx context.Context, req *pb.DeleteTagRuleRequest) (*emptypb.Empty, error) {
	return s.tagRules().delete(ctx, req, req.GetEtag())
}

// setTagRule takes over what a client may set. The registry must be there when it is
// named; it may be deleted later.
func (s *Service) setTagRule(ctx context.Context, t meta.Tenant, r *meta.TagRule, m *pb.TagRule) error {
	next, err := tagRuleOf(m)
	if err != nil {
		return err
	}
	if next.Registry != "" && next.Registry != r.Registry {
		if _, err := s.store.FindRegistry(ctx, t.ID, next.Registry); fault.Is(err, fault.ResourceUnknown) {
			return invalid(fieldTagRule+"registry", "%s %q not found in this tenant", kindRegistry, next.Registry)
		} else if err != nil {
			return err
		}
	}
	next.Slug, next.Tenant, next.Version, next.CreatedAt, next.UpdatedAt = r.Slug, r.Tenant, r.Version, r.CreatedAt, r.UpdatedAt
	*r = next
	return nil
}

// tagRuleOf reads the rule that a client sets. It checks all but whether its registry is
// there.
func tagRuleOf(m *pb.TagRule) (meta.TagRule, error) {
	r := meta.TagRule{
		Registry: m.GetRegistry(), DisplayName: m.GetDisplayName(), Disabled: m.GetDisabled(),
		Rule: tagrule.Rule{Repositories: m.GetRepositories(), Tags: m.GetTags(), NoOverwrite: m.GetNoOverwrite(), NoDelete: m.GetNoDelete()},
	}
	if err := checkDisplayName(fieldTagRule+"display_name", r.DisplayName); err != nil {
		return r, err
	}
	if r.Registry != "" {
		if err := checkSlug(fieldTagRule+"registry", r.Registry); err != nil {
			return r, err
		}
	}
	if err := checkEntries(fieldTagRule+"repositories", r.Repositories, checkRuleRepository); err != nil {
		return r, err
	}
	if err := checkEntries(fieldTagRule+"tags", r.Tags, checkRuleTag); err != nil {
		return r, err
	}
	for i, class := range m.GetClasses() {
		field, one := fmt.Sprintf("%sclasses[%d]", fieldTagRule, i), tagrule.Class(class.String())
		switch {
		case !slices.Contains(tagrule.Classes, one):
			return r, invalid(field, "%s is not a class; it is one of RELEASE, PRERELEASE, SNAPSHOT, FLOATING", class)
		case slices.Contains(r.Classes, one):
			return r, invalid(field, "%s is there twice", class)
		}
		r.Classes = append(r.Classes, one)
	}
	if !r.NoOverwrite && !r.NoDelete {
		return r, invalid(fieldTagRule+"no_overwrite", "the rule protects from nothing; set no_overwrite, no_delete, or both")
	}
	return r, nil
}

func checkRuleTag(field, pattern string) error {
	if oci.CheckPattern(pattern) != nil || len(pattern) > oci.MaxTag {
		return invalid(field, "%q is not a valid pattern of tags, such as v* or release-?, of at most %d bytes", clipped(pattern), oci.MaxTag)
	}
	return checkRuleRepository(field, pattern)
}

func tagRuleMessage(t meta.Tenant, r meta.TagRule) *pb.TagRule {
	m := &pb.TagRule{
		Name:        "tenants/" + t.Slug + "/tagRules/" + r.Slug,
		DisplayName: r.DisplayName,
		Registry:    r.Registry, Repositories: r.Repositories, Tags: r.Tags,
		NoOverwrite: r.NoOverwrite, NoDelete: r.NoDelete, Disabled: r.Disabled,
	}
	for _, class := range r.Classes {
		m.Classes = append(m.Classes, pb.TagRule_Class(pb.TagRule_Class_value[string(class)]))
	}
	if r.Version != 0 { // else it was only validated
		m.Etag = etag(r.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(r.CreatedAt), timestamppb.New(r.UpdatedAt)
	}
	return m
}

// checkSeedTagRule checks a rule of a seed file, which may leave what it does not change
// to the rule that the tenant has already.
func checkSeedTagRule(f seedFields) error {
	return checked(f, func(m *pb.TagRule) error {
		if !f.has("no_overwrite") && !f.has("no_delete") {
			m.NoDelete = true
		}
		_, err := tagRuleOf(m)
		return err
	})
}

func (s *Service) applyTagRule(ctx context.Context, parent string, r seedResource) error {
	m, mask, err := decoded[*pb.TagRule](r.Fields)
	if err != nil {
		return err
	}
	return apply(ctx, parent+"/tagRules/", r.ID, m, mask, s.tagRules().update)
}

// overriding is the cause of a deletion, by which an administrator may override tag rules.
func overriding(ctx context.Context, by meta.Cause, override bool) (meta.Cause, error) {
	if override && !callerOf(ctx).admin() {
		return by, errOnlyTenantAdmin("override tag rules")
	}
	by.OverrideTagRules = override
	return by, nil
}
