package admin

import (
	"context"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/promotion"
)

// Promotions promote images; a promotion.Service does.
type Promotions interface {
	// FindTag returns what a tag of a repository leads to; it asks no chain.
	FindTag(ctx context.Context, r meta.Repo, tag string) (oci.Digest, error)
	Promote(ctx context.Context, r promotion.Request) (promotion.Result, error)
}

// maxMissing is how many missing digests an answer has.
const maxMissing = 100

// PromoteImage promotes an image.
func (s *Service) PromoteImage(ctx context.Context, req *pb.PromoteImageRequest) (*pb.PromoteImageResponse, error) {
	ref, err := promoted(req)
	if err != nil {
		return nil, err
	}
	v, err := s.promotionView(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	from, to, err := s.promotionEnds(ctx, v, req)
	if err != nil {
		return nil, err
	}
	if err := s.enterPromotion(ctx, to.repo.Tenant); err != nil {
		return nil, err
	}
	defer s.promoting.Release(to.repo.Tenant, 1)
	r := promotion.Request{
		From: from.repo, Registry: from.registry.Slug, Chain: from.hasChain(), Caller: from.caller,
		To: to.repo, ToRegistry: to.registry.Slug, Tag: req.GetToTag(), AllowMissingReferences: to.registry.Settings.AllowMissingReferences, By: cause(ctx),
	}
	r.By.ValidateOnly = req.GetValidateOnly()
	if r.Tag == "" {
		r.Tag = ref.Tag
	}
	if r.Digest, err = s.promotedDigest(ctx, v, from, ref); err != nil {
		return nil, err
	}
	result, err := s.promotions.Promote(ctx, r)
	if err != nil {
		return nil, err
	}
	m := &pb.PromoteImageResponse{
		Name:   "tenants/" + from.tenant + "/registries/" + to.registry.Slug + "/repositories/" + to.repo.Name + "@" + r.Digest.String(),
		Digest: r.Digest.String(), Tag: r.Tag, Manifests: int32(result.Manifests), Companions: int32(result.Companions),
	}
	m.Unmet = result.Unmet[:min(len(result.Unmet), maxMissing)]
	for _, d := range result.Missing[:min(len(result.Missing), maxMissing)] {
		m.Missing = append(m.Missing, d.String())
	}
	return m, nil
}

// promoted is the reference that a request names.
func promoted(req *pb.PromoteImageRequest) (oci.Reference, error) {
	ref := oci.Reference{Tag: req.GetTag()}
	switch {
	case req.GetDigest() == "" && ref.Tag == "":
		return ref, invalid("digest", "set digest or tag")
	case req.GetDigest() != "" && ref.Tag != "":
		return ref, invalid("tag", "set digest or tag, not both")
	case ref.Tag != "":
		if err := oci.CheckTag(ref.Tag); err != nil {
			return ref, fault.From(err).WithField("tag")
		}
	default:
		var err error
		if ref.Digest, err = oci.ParseDigest(req.GetDigest()); err != nil {
			return ref, fault.From(err).WithField("digest")
		}
	}
	if req.GetToTag() != "" {
		if err := oci.CheckTag(req.GetToTag()); err != nil {
			return ref, fault.From(err).WithField("to_tag")
		}
	}
	return ref, nil
}

// promotionEnd is one of the two repositories of a promotion.
type promotionEnd struct {
	tenant   string // slug
	registry meta.Registry
	repo     meta.Repo
	caller   chain.Caller // in the chain of the source
}

// promotionView is what decides about the caller: its role and access rules, which also take
// from roles.
func (s *Service) promotionView(ctx context.Context, name string) (view, error) {
	if callerOf(ctx).operator {
		return view{all: true}, nil
	}
	return s.viewByRules(ctx, name)
}

// promotionEnds are source and target, if the caller may pull the one and promote to the
// other.
func (s *Service) promotionEnds(ctx context.Context, v view, req *pb.PromoteImageRequest) (promotionEnd, promotionEnd, error) {
	var from, to promotionEnd
	ids, err := splitName("name", req.GetName(), "tenants", "registries", "repositories")
	if err != nil {
		return from, to, err
	}
	target := []string{req.GetToRegistry(), req.GetToRepository()}
	if target[0] == "" {
		target[0] = ids[1]
	}
	if target[1] == "" {
		target[1] = ids[2]
	}
	if err := oci.CheckName(target[1]); err != nil {
		return from, to, fault.From(err).WithField("to_repository")
	}
	if from, err = s.promotionEnd(ctx, ids[0], ids[1], ids[2], "name"); err != nil {
		return from, to, v.hidden(err)
	}
	from.caller = chain.PullsAll
	if !v.all {
		rights := v.in(from.registry)
		if !rights.Allowed(ids[2]).Has(access.Pull) {
			return from, to, errHidden()
		}
		from.caller = chain.CallerOf(&rights, ids[2])
	}
	if !v.all && !v.may(access.Promote, target[0], target[1]) {
		c := callerOf(ctx)
		return from, to, fault.New(fault.Denied, fault.DeniedReason,
			"account %q has role %s; this needs the action PROMOTE on the repository that it promotes to, by role WRITER or ADMIN or an access rule", c.account(), c.principal.Role)
	}
	if to, err = s.promotionEnd(ctx, ids[0], target[0], target[1], "to_registry"); err != nil {
		return from, to, err
	}
	if to.registry.Settings.ReadOnly {
		err = fault.New(fault.Denied, fault.DeniedReason, "registry %q is read-only; set its read_only to false to promote to it", to.registry.Slug)
	}
	return from, to, err
}

func (s *Service) promotionEnd(ctx context.Context, tenantSlug, registry, repository, field string) (promotionEnd, error) {
	t, r, err := s.registries().find(ctx, field, "tenants/"+tenantSlug+"/registries/"+registry)
	return promotionEnd{tenant: t.Slug, registry: r, repo: meta.Repo{Tenant: t.ID, Registry: r.ID, Name: repository}}, err
}

// promotedDigest resolves a tag once: what the repository has, or else what a pull of it
// through the chain gives, which may fetch it.
func (s *Service) promotedDigest(ctx context.Context, v view, from promotionEnd, ref oci.Reference) (oci.Digest, error) {
	if ref.Digest != "" {
		return ref.Digest, nil
	}
	d, err := s.promotions.FindTag(ctx, from.repo, ref.Tag)
	if err == nil || !from.hasChain() || !fault.Is(err, fault.ManifestUnknown) && !fault.Is(err, fault.NameUnknown) {
		return d, v.hidden(err)
	}
	caller, err := v.resolver(from.registry, from.repo.Name)
	if err != nil {
		return "", err
	}
	trace, err := s.chains.Resolve(ctx, from.repo.Tenant, from.tenant, from.registry.Slug, from.repo.Name, ref, false, caller)
	switch {
	case err != nil:
		return "", err
	case trace.Winner >= 0:
		return oci.Digest(trace.Answers[trace.Winner].Digest), nil
	case trace.Outcome == chain.NotHere:
		return "", fault.New(fault.NotFound, fault.ManifestUnknown, "neither the repository nor the chain of its registry has the tag %s", ref.Tag)
	default:
		return "", fault.New(fault.Conflict, fault.NotPromotable, "the tag %s cannot be resolved through the chain of the registry now; :resolve says why", ref.Tag)
	}
}

func (e promotionEnd) hasChain() bool { return e.registry.Settings.UpstreamGroup != "" }
