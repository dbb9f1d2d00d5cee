package admin

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// fieldRetention begins the fields of a retention policy in a request.
const fieldRetention = "retention_policy."

// Bounds of when a policy runs, and of what a run deletes.
const (
	defaultRetention = 24 * time.Hour
	minRetention     = time.Hour
	maxRetention     = 365 * 24 * time.Hour
	defaultDeletions = 1000
	maxDeletions     = 1_000_000
)

func (s *Service) retentionPolicies() collection[meta.RetentionPolicy, *pb.RetentionPolicy] {
	return collection[meta.RetentionPolicy, *pb.RetentionPolicy]{
		service: s, name: "retentionPolicies", noun: "retention_policy",
		new: func(_ context.Context, t meta.Tenant, slug string) meta.RetentionPolicy {
			return meta.RetentionPolicy{Tenant: t.ID, Slug: slug}
		},
		key: func(p meta.RetentionPolicy) (string, int64) { return p.Slug, p.Version },
		set: s.setRetentionPolicy, show: shown(retentionPolicyMessage),
		limit: s.limits.RetentionPolicyLimit(), findRow: s.store.FindRetentionPolicy, listRows: s.store.ListRetentionPolicies,
		createRow: s.store.CreateRetentionPolicy, updateRow: s.store.UpdateRetentionPolicy, deleteRow: s.store.DeleteRetentionPolicy,
	}
}

// CreateRetentionPolicy makes a policy, which observes unless it is to enforce.
func (s *Service) CreateRetentionPolicy(ctx context.Context, req *pb.CreateRetentionPolicyRequest) (*pb.RetentionPolicy, error) {
	return s.retentionPolicies().create(ctx, req.GetParent(), req.GetRetentionPolicyId(), req.GetRetentionPolicy(), req.GetValidateOnly())
}

// GetRetentionPolicy returns one policy.
func (s *Service) GetRetentionPolicy(ctx context.Context, req *pb.GetRetentionPolicyRequest) (*pb.RetentionPolicy, error) {
	return s.retentionPolicies().get(ctx, req.GetName())
}

// ListRetentionPolicies pages by slug.
func (s *Service) ListRetentionPolicies(ctx context.Context, req *pb.ListRetentionPoliciesRequest) (*pb.ListRetentionPoliciesResponse, error) {
	rows, next, err := s.retentionPolicies().list(ctx, req)
	return &pb.ListRetentionPoliciesResponse{RetentionPolicies: rows, NextPageToken: next}, err
}

// UpdateRetentionPolicy changes what a policy deletes, where and when.
func (s *Service) UpdateRetentionPolicy(ctx context.Context, req *pb.UpdateRetentionPolicyRequest) (*pb.RetentionPolicy, error) {
	return s.retentionPolicies().update(ctx, req, req.GetRetentionPolicy())
}

// DeleteRetentionPolicy removes a policy.
func (s *Service) DeleteRetentionPolicy(ctx context.Context, req *pb.DeleteRetentionPolicyRequest) (*emptypb.Empty, error) {
	return s.retentionPolicies().delete(ctx, req, req.GetEtag())
}

// RunRetentionPolicy lets a run begin now.
func (s *Service) RunRetentionPolicy(ctx context.Context, req *pb.RunRetentionPolicyRequest) (*pb.RetentionPolicy, error) {
	t, p, err := s.retentionPolicies().find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if p, err = s.store.RunRetentionPolicy(ctx, causedBy(ctx, "state", "", "running"), t.ID, p.Slug); err != nil {
		return nil, err
	}
	return retentionPolicyMessage(t, p), nil
}

// setRetentionPolicy takes over what a client may set. The registry must be there when it
// is named; it may be deleted later.
func (s *Service) setRetentionPolicy(ctx context.Context, t meta.Tenant, p *meta.RetentionPolicy, m *pb.RetentionPolicy) error {
	next, err := retentionPolicyOf(m)
	if err != nil {
		return err
	}
	if next.Registry != "" && next.Registry != p.Registry {
		if _, err := s.store.FindRegistry(ctx, t.ID, next.Registry); fault.Is(err, fault.ResourceUnknown) {
			return invalid(fieldRetention+"registry", "%s %q not found in this tenant", kindRegistry, next.Registry)
		} else if err != nil {
			return err
		}
	}
	next.Slug, next.Tenant, next.Version, next.CreatedAt, next.UpdatedAt, next.Run = p.Slug, p.Tenant, p.Version, p.CreatedAt, p.UpdatedAt, p.Run
	*p = next
	return nil
}

// retentionPolicyOf reads the policy that a client sets. It checks all but whether its
// registry is there.
func retentionPolicyOf(m *pb.RetentionPolicy) (meta.RetentionPolicy, error) {
	p := meta.RetentionPolicy{
		Registry: m.GetRegistry(), DisplayName: m.GetDisplayName(), Disabled: m.GetDisabled(), Repositories: m.GetRepositories(),
		Enforced: m.GetMode() == pb.RetentionPolicy_ENFORCE, Interval: defaultRetention, MaxDeletions: m.GetMaxDeletions(),
	}
	if err := checkDisplayName(fieldRetention+"display_name", p.DisplayName); err != nil {
		return p, err
	}
	if p.Registry != "" {
		if err := checkSlug(fieldRetention+"registry", p.Registry); err != nil {
			return p, err
		}
	}
	if err := checkEntries(fieldRetention+"repositories", p.Repositories, checkRuleRepository); err != nil {
		return p, err
	}
	if _, known := pb.RetentionPolicy_Mode_name[int32(m.GetMode())]; !known {
		return p, invalid(fieldRetention+"mode", "%d is not a mode; it is one of OBSERVE, ENFORCE", m.GetMode())
	}
	if i := m.GetInterval(); i != nil {
		p.Interval = i.AsDuration()
		if i.CheckValid() != nil || p.Interval != 0 && (p.Interval < minRetention || p.Interval > maxRetention) {
			return p, invalid(fieldRetention+"interval", "%s is out of range: from %s to %s, or 0s for runs by :run alone", p.Interval, minRetention, maxRetention)
		}
	}
	if p.MaxDeletions == 0 {
		p.MaxDeletions = defaultDeletions
	}
	if p.MaxDeletions < 0 || p.MaxDeletions > maxDeletions {
		return p, invalid(fieldRetention+"max_deletions", "%d is out of range: from 1 to %d", p.MaxDeletions, maxDeletions)
	}
	var err error
	p.Policy, err = retentionRulesOf(m)
	return p, err
}

func retentionPolicyMessage(t meta.Tenant, p meta.RetentionPolicy) *pb.RetentionPolicy {
	m := &pb.RetentionPolicy{
		Name:        "tenants/" + t.Slug + "/retentionPolicies/" + p.Slug,
		DisplayName: p.DisplayName,
		Registry:    p.Registry, Repositories: p.Repositories, Rules: mapped(p.Rules, retentionRuleMessage),
		MayDeleteProtected: p.MayDeleteProtected, Mode: retentionMode(p.Enforced), Interval: durationpb.New(p.Interval),
		MaxDeletions: p.MaxDeletions, Disabled: p.Disabled,
	}
	if p.Version == 0 { // it was only validated
		return m
	}
	m.Etag = etag(p.Version)
	m.CreateTime, m.UpdateTime = timestamppb.New(p.CreatedAt), timestamppb.New(p.UpdatedAt)
	r := p.Run
	running := r.Number > 0 && r.EndedAt.IsZero()
	if !running && !r.DueAt.IsZero() {
		m.NextRunTime = timestamppb.New(r.DueAt)
	}
	if r.Number == 0 {
		return m
	}
	m.Run = &pb.RetentionPolicy_Run{
		Number: r.Number, Mode: retentionMode(r.Enforced), StartTime: timestamppb.New(r.BeganAt),
		Repositories: r.Repositories, Tags: r.Tags, Manifests: r.Manifests, Bytes: r.Bytes, Protected: r.Protected, Refused: r.Refused,
		Limited: r.Limited, Failure: r.Failure,
	}
	if !running {
		m.Run.EndTime = timestamppb.New(r.EndedAt)
	}
	return m
}

func retentionMode(enforced bool) pb.RetentionPolicy_Mode {
	if enforced {
		return pb.RetentionPolicy_ENFORCE
	}
	return pb.RetentionPolicy_OBSERVE
}

func checkSeedRetention(f seedFields) error {
	return checked(f, func(m *pb.RetentionPolicy) error {
		if !f.has("rules") { // those of the policy that the tenant has already
			m.Rules = []*pb.RetentionPolicy_Rule{{Name: "any", Action: pb.RetentionPolicy_Rule_KEEP}}
		}
		_, err := retentionPolicyOf(m)
		return err
	})
}

func (s *Service) applyRetentionPolicy(ctx context.Context, parent string, r seedResource) error {
	m, mask, err := decoded[*pb.RetentionPolicy](r.Fields)
	if err != nil {
		return err
	}
	return apply(ctx, parent+"/retentionPolicies/", r.ID, m, mask, s.retentionPolicies().update)
}
