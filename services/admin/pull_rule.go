package admin

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// fieldPullRule begins the fields of a pull rule in a request.
const fieldPullRule = "pull_rule."

func (s *Service) pullRules() collection[meta.PullRule, *pb.PullRule] {
	return collection[meta.PullRule, *pb.PullRule]{
		service: s, name: "pullRules", noun: "pull_rule",
		new: func(_ context.Context, t meta.Tenant, slug string) meta.PullRule {
			return meta.PullRule{Tenant: t.ID, Slug: slug}
		},
		key: func(r meta.PullRule) (string, int64) { return r.Slug, r.Version },
		set: s.setPullRule, show: shown(pullRuleMessage),
		limit: s.limits.PullRuleLimit(), findRow: s.store.FindPullRule, listRows: s.store.ListPullRules,
		createRow: s.store.CreatePullRule, updateRow: s.store.UpdatePullRule, deleteRow: s.store.DeletePullRule,
	}
}

// CreatePullRule makes a rule, which observes unless it is to enforce.
func (s *Service) CreatePullRule(ctx context.Context, req *pb.CreatePullRuleRequest) (*pb.PullRule, error) {
	return s.pullRules().create(ctx, req.GetParent(), req.GetPullRuleId(), req.GetPullRule(), req.GetValidateOnly())
}

// GetPullRule returns one rule.
func (s *Service) GetPullRule(ctx context.Context, req *pb.GetPullRuleRequest) (*pb.PullRule, error) {
	return s.pullRules().get(ctx, req.GetName())
}

// ListPullRules pages by slug.
func (s *Service) ListPullRules(ctx context.Context, req *pb.ListPullRulesRequest) (*pb.ListPullRulesResponse, error) {
	rows, next, err := s.pullRules().list(ctx, req)
	return &pb.ListPullRulesResponse{PullRules: rows, NextPageToken: next}, err
}

// UpdatePullRule changes what the rule asks.
func (s *Service) UpdatePullRule(ctx context.Context, req *pb.UpdatePullRuleRequest) (*pb.PullRule, error) {
	return s.pullRules().update(ctx, req, req.GetPullRule())
}

// DeletePullRule removes a rule.
func (s *Service) DeletePullRule(ctx context.Context, req *pb.DeletePullRuleRequest) (*emptypb.Empty, error) {
	return s.pullRules().delete(ctx, req, req.GetEtag())
}

// setPullRule takes over what a client may set. The registry must be there when it is named;
// it may be deleted later.
func (s *Service) setPullRule(ctx context.Context, t meta.Tenant, r *meta.PullRule, m *pb.PullRule) error {
	next, err := pullRuleOf(m)
	if err != nil {
		return err
	}
	if err := s.checkTrust(fieldPullRule, next.Identities, next.TrustedRoot); err != nil {
		return err
	}
	if next.Registry != "" && next.Registry != r.Registry {
		if _, err := s.store.FindRegistry(ctx, t.ID, next.Registry); fault.Is(err, fault.ResourceUnknown) {
			return invalid(fieldPullRule+"registry", "%s %q not found in this tenant", kindRegistry, next.Registry)
		} else if err != nil {
			return err
		}
	}
	next.Slug, next.Tenant, next.Version, next.CreatedAt, next.UpdatedAt = r.Slug, r.Tenant, r.Version, r.CreatedAt, r.UpdatedAt
	*r = next
	return nil
}

// pullRuleOf reads the rule that a client sets. It checks all but whether its registry is
// there.
func pullRuleOf(m *pb.PullRule) (meta.PullRule, error) {
	r := meta.PullRule{
		Registry: m.GetRegistry(), Repositories: m.GetRepositories(), Tags: m.GetTags(), DisplayName: m.GetDisplayName(), Disabled: m.GetDisabled(),
		Keys: m.GetPublicKeys(), Identities: signerIdentitiesOf(m.GetIdentities()), TrustedRoot: m.GetTrustedRoot(), ArtifactTypes: m.GetArtifactTypes(), Enforced: m.GetMode() == pb.PullRule_ENFORCE,
	}
	if err := checkDisplayName(fieldPullRule+"display_name", r.DisplayName); err != nil {
		return r, err
	}
	if r.Registry != "" {
		if err := checkSlug(fieldPullRule+"registry", r.Registry); err != nil {
			return r, err
		}
	}
	if err := checkEntries(fieldPullRule+"repositories", r.Repositories, checkRuleRepository); err != nil {
		return r, err
	}
	if err := checkEntries(fieldPullRule+"tags", r.Tags, checkRuleTag); err != nil {
		return r, err
	}
	if _, known := pb.PullRule_Mode_name[int32(m.GetMode())]; !known {
		return r, invalid(fieldPullRule+"mode", "%d is not a mode; it is one of OBSERVE, ENFORCE", m.GetMode())
	}
	if err := checkEvidence(fieldPullRule, r.Keys, r.Identities, r.ArtifactTypes); err != nil {
		return r, err
	}
	if d := m.GetMinAge(); d != nil {
		if r.MinAge = d.AsDuration(); d.CheckValid() != nil || r.MinAge < 0 || r.MinAge > longestLife {
			return r, invalid(fieldPullRule+"min_age", "%s is out of range: from 0s to 87600h, such as \"24h\"", d.AsDuration())
		}
	}
	var err error
	if r.Scan, err = scanRequirementOf(fieldPullRule+"scan", m.GetScan()); err != nil {
		return r, err
	}
	if len(r.Keys)+len(r.Identities)+len(r.ArtifactTypes) == 0 && r.MinAge == 0 && r.Scan.None() {
		return r, invalid(fieldPullRule+"public_keys", "the rule asks nothing; set public_keys, identities, artifact_types, scan or min_age")
	}
	return r, nil
}

func pullRuleMessage(t meta.Tenant, r meta.PullRule) *pb.PullRule {
	m := &pb.PullRule{
		Name:        "tenants/" + t.Slug + "/pullRules/" + r.Slug,
		DisplayName: r.DisplayName,
		Registry:    r.Registry, Repositories: r.Repositories, Tags: r.Tags, Disabled: r.Disabled,
		PublicKeys: r.Keys, Identities: signerIdentityMessages(r.Identities), TrustedRoot: r.TrustedRoot, ArtifactTypes: r.ArtifactTypes, Scan: scanRequirementMessage(r.Scan), Mode: pb.PullRule_OBSERVE,
	}
	if r.MinAge > 0 {
		m.MinAge = durationpb.New(r.MinAge)
	}
	if r.Enforced {
		m.Mode = pb.PullRule_ENFORCE
	}
	if r.Version != 0 { // else it was only validated
		m.Etag = etag(r.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(r.CreatedAt), timestamppb.New(r.UpdatedAt)
	}
	return m
}

// checkSeedPullRule checks a rule of a seed file, which may leave what it does not change to
// the rule that the tenant has already.
func checkSeedPullRule(f seedFields) error {
	return checked(f, func(m *pb.PullRule) error {
		if m.GetMinAge().AsDuration() == 0 {
			m.MinAge = durationpb.New(1) // so that it asks something
		}
		_, err := pullRuleOf(m)
		return err
	})
}

func (s *Service) applyPullRule(ctx context.Context, parent string, r seedResource) error {
	m, mask, err := decoded[*pb.PullRule](r.Fields)
	if err != nil {
		return err
	}
	return apply(ctx, parent+"/pullRules/", r.ID, m, mask, s.pullRules().update)
}
