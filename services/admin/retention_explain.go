package admin

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/services/internal/evaluate"
)

// ExplainRetention says why a tag or a manifest stays or goes.
func (s *Service) ExplainRetention(ctx context.Context, req *pb.ExplainRetentionRequest) (*pb.ExplainRetentionResponse, error) {
	ref, err := oci.ParseReference(req.GetReference())
	if err != nil {
		return nil, fault.From(err).WithField("reference")
	}
	g, r, err := s.registryAndRepository(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	if err := s.enterTest(ctx, r.Tenant); err != nil {
		return nil, err
	}
	defer s.tests.Release(r.Tenant, 1)
	t, err := evaluate.Open(ctx, s.store, r.Tenant)
	if err != nil {
		return nil, err
	}
	ids, err := splitName("name", req.GetName(), "tenants", "registries", "repositories")
	if err != nil {
		return nil, err
	}
	m := &pb.ExplainRetentionResponse{}
	for _, p := range t.Policies {
		if !meta.RetentionPolicyFor(t.Policies, p, g.Slug, r.Name) {
			continue
		}
		at, err := s.retentionMoment(ctx, p.Policy, time.Time{})
		if err != nil {
			return nil, err
		}
		e, err := t.Evaluate(ctx, p.Policy, r, g.Slug, at)
		if err != nil {
			return nil, err
		}
		v, err := verdictAbout(e, ref)
		if err != nil {
			return nil, err
		}
		m.Verdicts = append(m.Verdicts, &pb.ExplainRetentionResponse_Verdict{
			Policy: "tenants/" + ids[0] + "/retentionPolicies/" + p.Slug, Mode: retentionMode(p.Enforced), Goes: v.Goes,
			Reason: pb.ExplainRetentionResponse_Reason(pb.ExplainRetentionResponse_Reason_value[string(v.Reason)]),
			Rule:   v.Rule, TagRule: v.TagRule, Via: v.Via, AsOf: timestamppb.New(at.Now),
		})
	}
	return m, nil
}

// verdictAbout is what an evaluation says of a tag or a manifest.
func verdictAbout(e evaluate.Evaluation, ref oci.Reference) (retention.Verdict, error) {
	var of []retention.Verdict
	var i int
	if ref.Tag != "" {
		of = e.Result.Tags
		i = slices.IndexFunc(e.Content.Tags, func(t retention.Tag) bool { return t.Name == ref.Tag })
	} else {
		of = e.Manifests
		i = slices.IndexFunc(e.Content.Manifests, func(m retention.Manifest) bool { return m.Digest == ref.Digest })
	}
	if i < 0 {
		return retention.Verdict{}, fault.New(fault.NotFound, fault.ManifestUnknown, "the repository has no tag and no manifest %q", clipped(ref.String()))
	}
	return of[i], nil
}
