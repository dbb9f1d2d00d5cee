package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

func (s *Service) groups() collection[meta.Group, *pb.UpstreamGroup] {
	return collection[meta.Group, *pb.UpstreamGroup]{
		service: s, name: "upstreamGroups", noun: "upstream_group",
		new: func(_ context.Context, t meta.Tenant, slug string) meta.Group {
			return meta.Group{Tenant: t.ID, Slug: slug}
		},
		key: func(g meta.Group) (string, int64) { return g.Slug, g.Version },
		set: s.setGroup, show: shown(groupMessage),
		limit: s.limits.GroupLimit(), findRow: s.store.FindGroup, listRows: s.store.ListGroups,
		createRow: s.store.CreateGroup, updateRow: s.store.UpdateGroup, deleteRow: s.store.DeleteGroup,
	}
}

// CreateUpstreamGroup makes a group, which no registry names yet.
func (s *Service) CreateUpstreamGroup(ctx context.Context, req *pb.CreateUpstreamGroupRequest) (*pb.UpstreamGroup, error) {
	return s.groups().create(ctx, req.GetParent(), req.GetUpstreamGroupId(), req.GetUpstreamGroup(), req.GetValidateOnly())
}

// GetUpstreamGroup answers one group.
func (s *Service) GetUpstreamGroup(ctx context.Context, req *pb.GetUpstreamGroupRequest) (*pb.UpstreamGroup, error) {
	return s.groups().get(ctx, req.GetName())
}

// ListUpstreamGroups pages by slug.
func (s *Service) ListUpstreamGroups(ctx context.Context, req *pb.ListUpstreamGroupsRequest) (*pb.ListUpstreamGroupsResponse, error) {
	rows, next, err := s.groups().list(ctx, req)
	return &pb.ListUpstreamGroupsResponse{UpstreamGroups: rows, NextPageToken: next}, err
}

// UpdateUpstreamGroup changes who is asked.
func (s *Service) UpdateUpstreamGroup(ctx context.Context, req *pb.UpdateUpstreamGroupRequest) (*pb.UpstreamGroup, error) {
	return s.groups().update(ctx, req, req.GetUpstreamGroup())
}

// DeleteUpstreamGroup deletes a group that no registry names.
func (s *Service) DeleteUpstreamGroup(ctx context.Context, req *pb.DeleteUpstreamGroupRequest) (*emptypb.Empty, error) {
	return s.groups().delete(ctx, req, req.GetEtag())
}

// setGroup takes over what a client may set.
func (s *Service) setGroup(ctx context.Context, _ meta.Tenant, g *meta.Group, m *pb.UpstreamGroup) error {
	members, err := groupMembers(m)
	if err != nil {
		return err
	}
	keepDelegated(members, m, g.Members)
	g.Members = members
	return s.validateGroup(ctx, *g)
}

const fieldMembers = "upstream_group.members"

// groupMembers is what a client may set, checked as far as it can be by itself.
func groupMembers(m *pb.UpstreamGroup) ([]meta.Member, error) {
	if len(m.GetMembers()) > chain.MaxMembers {
		return nil, invalid(fieldMembers, "%d members exceed the maximum of %d", len(m.GetMembers()), chain.MaxMembers)
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
		if member.Upstream != "" && one.GetDelegate() {
			return nil, invalid(at+".delegate", "it is for members that are registries: an upstream has no access rules")
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

// keepDelegated decides for members that do not say so whether the right to pull is
// delegated: a registry that is in the group already stays as it is, since who wrote the
// group before there was a choice does not name the field, and a new one is checked.
func keepDelegated(members []meta.Member, m *pb.UpstreamGroup, before []meta.Member) {
	for i, one := range m.GetMembers() {
		if members[i].Registry == "" {
			continue
		}
		members[i].Checked = !one.GetDelegate()
		if one.Delegate == nil {
			at := slices.IndexFunc(before, func(b meta.Member) bool { return b.Registry == members[i].Registry })
			members[i].Checked = at < 0 || before[at].Checked
		}
	}
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

// validateGroup looks whether all chains of the tenant come to an end with the
// group.
func (s *Service) validateGroup(ctx context.Context, g meta.Group) error {
	t, err := s.store.FindTopology(ctx, g.Tenant)
	if err != nil {
		return err
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
			return invalid(field, "%s %q not found in this tenant", kind, clipped(m.Registry+m.Upstream))
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
			one.Delegate = new(!member.Checked)
		}
		m.Members = append(m.Members, one)
	}
	if g.Version != 0 { // else it was only validated
		m.Etag = etag(g.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(g.CreatedAt), timestamppb.New(g.UpdatedAt)
	}
	return m
}
