package admin

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// fieldPromotionGate begins the fields of a promotion gate in a request.
const fieldPromotionGate = "promotion_gate."

func (s *Service) promotionGates() collection[meta.PromotionGate, *pb.PromotionGate] {
	return collection[meta.PromotionGate, *pb.PromotionGate]{
		service: s, name: "promotionGates", noun: "promotion_gate",
		new: func(_ context.Context, t meta.Tenant, slug string) meta.PromotionGate {
			return meta.PromotionGate{Tenant: t.ID, Slug: slug}
		},
		key: func(r meta.PromotionGate) (string, int64) { return r.Slug, r.Version },
		set: s.setPromotionGate, show: shown(promotionGateMessage),
		limit: s.limits.PromotionGateLimit(), findRow: s.store.FindPromotionGate, listRows: s.store.ListPromotionGates,
		createRow: s.store.CreatePromotionGate, updateRow: s.store.UpdatePromotionGate, deleteRow: s.store.DeletePromotionGate,
	}
}

// CreatePromotionGate makes a gate, which counts from now on.
func (s *Service) CreatePromotionGate(ctx context.Context, req *pb.CreatePromotionGateRequest) (*pb.PromotionGate, error) {
	return s.promotionGates().create(ctx, req.GetParent(), req.GetPromotionGateId(), req.GetPromotionGate(), req.GetValidateOnly())
}

// GetPromotionGate returns one gate.
func (s *Service) GetPromotionGate(ctx context.Context, req *pb.GetPromotionGateRequest) (*pb.PromotionGate, error) {
	return s.promotionGates().get(ctx, req.GetName())
}

// ListPromotionGates pages by slug.
func (s *Service) ListPromotionGates(ctx context.Context, req *pb.ListPromotionGatesRequest) (*pb.ListPromotionGatesResponse, error) {
	rows, next, err := s.promotionGates().list(ctx, req)
	return &pb.ListPromotionGatesResponse{PromotionGates: rows, NextPageToken: next}, err
}

// UpdatePromotionGate changes what the gate asks.
func (s *Service) UpdatePromotionGate(ctx context.Context, req *pb.UpdatePromotionGateRequest) (*pb.PromotionGate, error) {
	return s.promotionGates().update(ctx, req, req.GetPromotionGate())
}

// DeletePromotionGate removes a gate.
func (s *Service) DeletePromotionGate(ctx context.Context, req *pb.DeletePromotionGateRequest) (*emptypb.Empty, error) {
	return s.promotionGates().delete(ctx, req, req.GetEtag())
}

// setPromotionGate takes over what a client may set. The registry must be there when it is
// named; it may be deleted later.
func (s *Service) setPromotionGate(ctx context.Context, t meta.Tenant, r *meta.PromotionGate, m *pb.PromotionGate) error {
	next, err := promotionGateOf(m)
	if err != nil {
		return err
	}
	if err := s.checkTrust(fieldPromotionGate, next.Identities, next.TrustedRoot); err != nil {
		return err
	}
	if next.Registry != "" && next.Registry != r.Registry {
		if _, err := s.store.FindRegistry(ctx, t.ID, next.Registry); fault.Is(err, fault.ResourceUnknown) {
			return invalid(fieldPromotionGate+"registry", "%s %q not found in this tenant", kindRegistry, next.Registry)
		} else if err != nil {
			return err
		}
	}
	next.Slug, next.Tenant, next.Version, next.CreatedAt, next.UpdatedAt = r.Slug, r.Tenant, r.Version, r.CreatedAt, r.UpdatedAt
	*r = next
	return nil
}

// Limits of a gate. Each key is tried with each signature.
const (
	maxGateTypes       = 20
	maxGateAnnotations = 20
	maxGateText        = 1024 // bytes of a key or value
	maxArtifactType    = 255  // bytes, as RFC 6838, section 4.2, allows
)

// promotionGateOf reads the gate that a client sets. It checks all but whether its registry
// is there.
func promotionGateOf(m *pb.PromotionGate) (meta.PromotionGate, error) {
	g := meta.PromotionGate{
		Registry: m.GetRegistry(), Repositories: m.GetRepositories(), Tags: m.GetTags(), DisplayName: m.GetDisplayName(), Disabled: m.GetDisabled(),
		Keys: m.GetPublicKeys(), Identities: signerIdentitiesOf(m.GetIdentities()), TrustedRoot: m.GetTrustedRoot(), ArtifactTypes: m.GetArtifactTypes(), Annotations: m.GetAnnotations(), Labels: m.GetLabels(), AnotherCaller: m.GetAnotherCaller(),
	}
	if err := checkDisplayName(fieldPromotionGate+"display_name", g.DisplayName); err != nil {
		return g, err
	}
	if g.Registry != "" {
		if err := checkSlug(fieldPromotionGate+"registry", g.Registry); err != nil {
			return g, err
		}
	}
	if err := checkEntries(fieldPromotionGate+"repositories", g.Repositories, checkRuleRepository); err != nil {
		return g, err
	}
	if err := checkEntries(fieldPromotionGate+"tags", g.Tags, checkRuleTag); err != nil {
		return g, err
	}
	if d := m.GetMinAge(); d != nil {
		if g.MinAge = d.AsDuration(); d.CheckValid() != nil || g.MinAge < 0 || g.MinAge > longestLife {
			return g, invalid(fieldPromotionGate+"min_age", "%s is out of range: from 0s to 87600h, such as \"24h\"", d.AsDuration())
		}
	}
	if err := checkGateEvidence(g); err != nil {
		return g, err
	}
	if len(g.Keys)+len(g.Identities)+len(g.ArtifactTypes)+len(g.Annotations)+len(g.Labels) == 0 && g.MinAge == 0 && !g.AnotherCaller {
		return g, invalid(fieldPromotionGate+"public_keys", "the gate asks nothing; set public_keys, identities, artifact_types, annotations, labels, min_age or another_caller")
	}
	return g, nil
}

// checkGateEvidence checks what the gate asks the image to have.
func checkGateEvidence(g meta.PromotionGate) error {
	if err := checkEvidence(fieldPromotionGate, g.Keys, g.Identities, g.ArtifactTypes); err != nil {
		return err
	}
	if err := checkGateNames(fieldPromotionGate+"annotations", g.Annotations); err != nil {
		return err
	}
	return checkGateNames(fieldPromotionGate+"labels", g.Labels)
}

// checkEvidence checks the keys, identities and artifact types of a gate or pull rule; field
// begins their names.
func checkEvidence(field string, keys []string, identities []meta.SignerIdentity, artifactTypes []string) error {
	if n := len(keys); n > maxKeys {
		return invalid(field+"public_keys", "%d keys exceed the maximum of %d", n, maxKeys)
	}
	for i, key := range keys {
		if err := checkPublicKey(fmt.Sprintf("%spublic_keys[%d]", field, i), key); err != nil {
			return err
		}
	}
	if err := checkSignerIdentities(field+"identities", identities); err != nil {
		return err
	}
	if n := len(artifactTypes); n > maxGateTypes {
		return invalid(field+"artifact_types", "%d types exceed the maximum of %d", n, maxGateTypes)
	}
	for i, one := range artifactTypes {
		if one == "" || len(one) > maxArtifactType {
			return invalid(fmt.Sprintf("%sartifact_types[%d]", field, i), "a type has from 1 to %d bytes", maxArtifactType)
		}
	}
	return nil
}

// checkGateNames checks annotations or labels.
func checkGateNames(field string, named map[string]string) error {
	if n := len(named); n > maxGateAnnotations {
		return invalid(field, "%d of them exceed the maximum of %d", n, maxGateAnnotations)
	}
	for key, value := range named {
		if key == "" || max(len(key), len(value)) > maxGateText {
			return invalid(field, "a name has from 1 to %d bytes, and its value at most as many", maxGateText)
		}
	}
	return nil
}

func promotionGateMessage(t meta.Tenant, g meta.PromotionGate) *pb.PromotionGate {
	m := &pb.PromotionGate{
		Name:        "tenants/" + t.Slug + "/promotionGates/" + g.Slug,
		DisplayName: g.DisplayName,
		Registry:    g.Registry, Repositories: g.Repositories, Tags: g.Tags, Disabled: g.Disabled,
		PublicKeys: g.Keys, Identities: signerIdentityMessages(g.Identities), TrustedRoot: g.TrustedRoot, ArtifactTypes: g.ArtifactTypes, Annotations: g.Annotations, Labels: g.Labels, AnotherCaller: g.AnotherCaller,
	}
	if g.MinAge > 0 {
		m.MinAge = durationpb.New(g.MinAge)
	}
	if g.Version != 0 { // else it was only validated
		m.Etag = etag(g.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(g.CreatedAt), timestamppb.New(g.UpdatedAt)
	}
	return m
}

// checkSeedPromotionGate checks a gate of a seed file, which may leave what it does not change
// to the gate that the tenant has already.
func checkSeedPromotionGate(f seedFields) error {
	return checked(f, func(m *pb.PromotionGate) error {
		m.AnotherCaller = true
		_, err := promotionGateOf(m)
		return err
	})
}

func (s *Service) applyPromotionGate(ctx context.Context, parent string, r seedResource) error {
	m, mask, err := decoded[*pb.PromotionGate](r.Fields)
	if err != nil {
		return err
	}
	return apply(ctx, parent+"/promotionGates/", r.ID, m, mask, s.promotionGates().update)
}
