package admin

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/services/internal/evaluate"
)

// simulated bounds the repositories of a page, and the time that it takes.
const (
	simulatedRepositories = 100
	simulatedTime         = 10 * time.Second
)

// SimulateRetention says what a policy would delete.
func (s *Service) SimulateRetention(ctx context.Context, req *pb.SimulateRetentionRequest) (*pb.SimulateRetentionResponse, error) {
	t, err := s.findTenant(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := s.enterTest(ctx, t.ID); err != nil {
		return nil, err
	}
	defer s.tests.Release(t.ID, 1)
	size, err := pageSize(req)
	if err != nil {
		return nil, err
	}
	list, err := simulationList(req)
	if err != nil {
		return nil, err
	}
	token, err := s.pages.open(list, req.GetName(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	m := &simulation{
		service: s, tenant: t, size: size, end: time.Now().Add(simulatedTime), page: &pb.SimulateRetentionResponse{},
		asked: evaluate.Place{Registry: req.GetRegistry(), Name: req.GetRepository()},
	}
	if token != "" {
		if err := json.Unmarshal([]byte(token), &m.from); err != nil {
			return nil, err
		}
	}
	if m.Tenant, err = evaluate.Open(ctx, s.store, t.ID); err != nil {
		return nil, err
	}
	if m.policy, err = simulatedPolicy(m.Policies, req); err != nil {
		return nil, err
	}
	if m.at, err = s.retentionMoment(ctx, m.policy.Policy, m.from.AsOf); err != nil {
		return nil, err
	}
	if err := m.walk(ctx); err != nil {
		return nil, err
	}
	m.page.AsOf = timestamppb.New(m.at.Now)
	if m.next != nil {
		m.next.AsOf = m.at.Now
		next, err := json.Marshal(m.next)
		if err != nil {
			return nil, err
		}
		m.page.NextPageToken = s.pages.seal(list, req.GetName(), string(next))
	}
	return m.page, nil
}

// simulationList binds a page token to what was asked.
func simulationList(req *pb.SimulateRetentionRequest) (string, error) {
	inline, err := proto.MarshalOptions{Deterministic: true}.Marshal(req.GetRetentionPolicy())
	return strings.Join([]string{"simulation", req.GetPolicy(), req.GetRegistry(), req.GetRepository(), string(inline)}, "\n"), err
}

// simulatedPolicy is the policy that a request names, or has, narrowed to what it asks
// about.
func simulatedPolicy(all []meta.RetentionPolicy, req *pb.SimulateRetentionRequest) (meta.RetentionPolicy, error) {
	var p meta.RetentionPolicy
	switch inline := req.GetRetentionPolicy(); {
	case (inline == nil) == (req.GetPolicy() == ""):
		return p, invalid("policy", "name a policy of the tenant, or give one in retention_policy")
	case inline != nil:
		var err error
		if p, err = retentionPolicyOf(inline); err != nil {
			return p, err
		}
	default:
		i := slices.IndexFunc(all, func(p meta.RetentionPolicy) bool { return p.Slug == req.GetPolicy() })
		if i < 0 {
			return p, invalid("policy", "retention policy %q not found", clipped(req.GetPolicy()))
		}
		p = all[i]
	}
	p.Disabled = false
	if req.GetRepository() != "" {
		if err := oci.CheckName(req.GetRepository()); err != nil {
			return p, fault.From(err).WithField("repository")
		}
		if req.GetRegistry() == "" {
			return p, invalid("registry", "it is missing; the repository is one of a registry")
		}
	}
	return p, nil
}

// retentionMoment is as of when a policy decides now: where it asks for pulls, up to when
// all of them are known.
func (s *Service) retentionMoment(ctx context.Context, p retention.Policy, asOf time.Time) (retention.Moment, error) {
	a, err := s.store.FindPullAccounting(ctx)
	if err != nil {
		return retention.Moment{}, err
	}
	if asOf.IsZero() {
		asOf = time.Now()
		if p.AsksForPulls("") && !a.KnownAt.IsZero() && a.KnownAt.Before(asOf) {
			asOf = a.KnownAt
		}
	}
	return a.Moment(asOf), nil
}
