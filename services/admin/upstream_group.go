package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// groupFields are those of an upstream group that its clients may set.
var groupFields = []string{"members"}

// CreateUpstreamGroup makes a group, which no registry names yet.
func (s *Service) CreateUpstreamGroup(ctx context.Context, req *pb.CreateUpstreamGroupRequest) (*pb.UpstreamGroup, error) {
	if err := checkSlug("upstream_group_id", req.GetUpstreamGroupId()); err != nil {
		return nil, err
	}
	t, err := s.findTenant(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	g := meta.Group{Tenant: t.ID, Slug: req.GetUpstreamGroupId()}
	if g.Members, err = groupMembers(req.GetUpstreamGroup()); err != nil {
		return nil, err
	}
	if err := s.admitGroup(ctx, g, true); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() {
		if err := absent(s.store.FindGroup(ctx, t.ID, g.Slug)); err != nil {
			return nil, err
		}
		return groupMessage(t, g), nil
	}
	g, err = s.store.CreateGroup(ctx, cause(ctx), g)
	if err != nil {
		return nil, err
	}
	return groupMessage(t, g), nil
}

// GetUpstreamGroup answers one group.
func (s *Service) GetUpstreamGroup(ctx context.Context, req *pb.GetUpstreamGroupRequest) (*pb.UpstreamGroup, error) {
	t, g, err := s.findGroup(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	return groupMessage(t, g), nil
}

// ListUpstreamGroups pages by slug.
func (s *Service) ListUpstreamGroups(ctx context.Context, req *pb.ListUpstreamGroupsRequest) (*pb.ListUpstreamGroupsResponse, error) {
	t, err := s.findTenant(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	rows, next, err := listPage(s, "upstreamGroups", req.GetParent(), req,
		func(p meta.Page) ([]meta.Group, error) { return s.store.ListGroups(ctx, t.ID, p) },
		func(g meta.Group) string { return g.Slug })
	if err != nil {
		return nil, err
	}
	return &pb.ListUpstreamGroupsResponse{
		UpstreamGroups: mapped(rows, func(g meta.Group) *pb.UpstreamGroup { return groupMessage(t, g) }),
		NextPageToken:  next,
	}, nil
}

// UpdateUpstreamGroup changes who is asked.
func (s *Service) UpdateUpstreamGroup(ctx context.Context, req *pb.UpdateUpstreamGroupRequest) (*pb.UpstreamGroup, error) {
	t, g, err := s.findGroup(ctx, "upstream_group.name", req.GetUpstreamGroup().GetName())
	if fault.Is(err, fault.ResourceUnknown) && req.GetAllowMissing() {
		ids, err := splitName("upstream_group.name", req.GetUpstreamGroup().GetName(), "tenants", "upstreamGroups")
		if err != nil {
			return nil, err
		}
		return s.CreateUpstreamGroup(ctx, &pb.CreateUpstreamGroupRequest{
			Parent: "tenants/" + ids[0], UpstreamGroupId: ids[1], UpstreamGroup: req.GetUpstreamGroup(), ValidateOnly: req.GetValidateOnly(),
		})
	}
	if err != nil {
		return nil, err
	}
	if err := checkEtag(req.GetUpstreamGroup().GetEtag(), g.Version); err != nil {
		return nil, err
	}
	before := groupMessage(t, g)
	after := proto.CloneOf(before)
	if err := merge(after, req.GetUpstreamGroup(), req.GetUpdateMask(), groupFields); err != nil {
		return nil, err
	}
	if g.Members, err = groupMembers(after); err != nil {
		return nil, err
	}
	if err := s.admitGroup(ctx, g, false); err != nil {
		return nil, err
	}
	if after = groupMessage(t, g); req.GetValidateOnly() || proto.Equal(before, after) {
		return after, nil
	}
	g, err = s.store.UpdateGroup(ctx, caused(ctx, before, after), g)
	if err != nil {
		return nil, err
	}
	return groupMessage(t, g), nil
}

// DeleteUpstreamGroup deletes a group that no registry names.
func (s *Service) DeleteUpstreamGroup(ctx context.Context, req *pb.DeleteUpstreamGroupRequest) (*emptypb.Empty, error) {
	t, g, err := s.findGroup(ctx, "name", req.GetName())
	if err != nil {
		return deleted(err, req)
	}
	if err := checkEtag(req.GetEtag(), g.Version); err != nil || req.GetValidateOnly() {
		return deleted(err, req)
	}
	return deleted(s.store.DeleteGroup(ctx, cause(ctx), t.ID, g.Slug, g.Version), req)
}

// findGroup finds by resource name; field is where the request carries it.
func (s *Service) findGroup(ctx context.Context, field, name string) (meta.Tenant, meta.Group, error) {
	ids, err := splitName(field, name, "tenants", "upstreamGroups")
	if err != nil {
		return meta.Tenant{}, meta.Group{}, err
	}
	t, err := s.tenantBySlug(ctx, ids[0])
	if err != nil {
		return meta.Tenant{}, meta.Group{}, err
	}
	g, err := s.store.FindGroup(ctx, t.ID, ids[1])
	return t, g, err
}

const fieldMembers = "upstream_group.members"

// groupMembers is what a client may set, checked as far as it can be by itself.
func groupMembers(m *pb.UpstreamGroup) ([]meta.Member, error) {
	if len(m.GetMembers()) > chain.MaxMembers {
		return nil, invalid(fieldMembers, "there are %d members; the most are %d", len(m.GetMembers()), chain.MaxMembers)
	}
	members := make([]meta.Member, 0, len(m.GetMembers()))
	for i, one := range m.GetMembers() {
		at := fmt.Sprintf("%s[%d]", fieldMembers, i)
		member := meta.Member{Registry: one.GetRegistry(), Upstream: one.GetUpstream(), Include: one.GetInclude(), Exclude: one.GetExclude()}
		if (member.Registry == "") == (member.Upstream == "") {
			return nil, invalid(at, "a member has either registry or upstream, with the id of one")
		}
		if slices.ContainsFunc(members, func(m meta.Member) bool { return m.Registry == member.Registry && m.Upstream == member.Upstream }) {
			return nil, invalid(at, "%q is a member twice", clipped(member.Registry+member.Upstream))
		}
		if err := checkPatterns(at+".include", member.Include); err != nil {
			return nil, err
		}
		if err := checkPatterns(at+".exclude", member.Exclude); err != nil {
			return nil, err
		}
		var known [2]bool
		member.OnOutage, known[0] = policies[one.GetOnOutage()]
		member.OnDenied, known[1] = policies[one.GetOnDenied()]
		if !known[0] || !known[1] {
			return nil, invalid(at, "on_outage and on_denied are each one of STOP, CONTINUE")
		}
		members = append(members, member)
	}
	return members, nil
}

var policies = map[pb.UpstreamGroup_Policy]meta.Policy{
	pb.UpstreamGroup_POLICY_UNSPECIFIED: "", pb.UpstreamGroup_STOP: meta.Stop, pb.UpstreamGroup_CONTINUE: meta.Continue,
}

func policyMessage(p meta.Policy) pb.UpstreamGroup_Policy {
	switch p {
	case meta.Stop:
		return pb.UpstreamGroup_STOP
	case meta.Continue:
		return pb.UpstreamGroup_CONTINUE
	default:
		return pb.UpstreamGroup_POLICY_UNSPECIFIED
	}
}

// admitGroup looks whether all chains of the tenant come to an end with the
// group.
func (s *Service) admitGroup(ctx context.Context, g meta.Group, added bool) error {
	t, err := s.store.FindTopology(ctx, g.Tenant)
	if err != nil {
		return err
	}
	if added {
		if err := s.limits.GroupLimit().Check(len(t.Groups) + 1); err != nil {
			return err
		}
	}
	if t.Groups == nil {
		t.Groups = map[string][]meta.Member{}
	}
	for i, m := range g.Members {
		_, isRegistry := t.Registries[m.Registry]
		_, isUpstream := t.Upstreams[m.Upstream]
		if !isRegistry && !isUpstream {
			field, kind := fmt.Sprintf("%s[%d].registry", fieldMembers, i), "registry"
			if m.Upstream != "" {
				field, kind = fmt.Sprintf("%s[%d].upstream", fieldMembers, i), "upstream"
			}
			return invalid(field, "there is no %s %q in this tenant", kind, clipped(m.Registry+m.Upstream))
		}
	}
	t.Groups[g.Slug] = g.Members
	return checkChains(t, fieldMembers)
}

// checkChains fails where the chain of a registry has no end.
func checkChains(t meta.Topology, field string) error {
	for _, registry := range slices.Sorted(maps.Keys(t.Registries)) {
		if t.Registries[registry].Group == "" {
			continue
		}
		if _, err := chain.Of(t, registry); err != nil {
			return fault.From(err).WithField(field)
		}
	}
	return nil
}

// groupMessage shows a group.
func groupMessage(t meta.Tenant, g meta.Group) *pb.UpstreamGroup {
	m := &pb.UpstreamGroup{Name: "tenants/" + t.Slug + "/upstreamGroups/" + g.Slug}
	for _, member := range g.Members {
		one := &pb.UpstreamGroup_Member{
			Include: member.Include, Exclude: member.Exclude,
			OnOutage: policyMessage(member.OnOutage), OnDenied: policyMessage(member.OnDenied),
		}
		if member.Upstream != "" {
			one.Kind = &pb.UpstreamGroup_Member_Upstream{Upstream: member.Upstream}
		} else {
			one.Kind = &pb.UpstreamGroup_Member_Registry{Registry: member.Registry}
		}
		m.Members = append(m.Members, one)
	}
	if g.Version != 0 { // else it was only validated
		m.Etag = etag(g.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(g.CreatedAt), timestamppb.New(g.UpdatedAt)
	}
	return m
}
