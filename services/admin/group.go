package admin

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// maxGroupMembers is how many members a group of accounts may have.
const maxGroupMembers = 1000

const fieldGroupMembers = "group.members"

func (s *Service) principalGroups() collection[meta.PrincipalGroup, *pb.Group] {
	return collection[meta.PrincipalGroup, *pb.Group]{
		service: s, name: "groups", noun: "group",
		new: func(_ context.Context, t meta.Tenant, slug string) meta.PrincipalGroup {
			return meta.PrincipalGroup{Tenant: t.ID, Slug: slug}
		},
		key: func(g meta.PrincipalGroup) (string, int64) { return g.Slug, g.Version },
		set: s.setPrincipalGroup, show: s.showPrincipalGroup,
		limit: s.limits.PrincipalGroupLimit(), findRow: s.store.FindPrincipalGroup, listRows: s.store.ListPrincipalGroups,
		createRow: s.store.CreatePrincipalGroup, updateRow: s.store.UpdatePrincipalGroup, deleteRow: s.store.DeletePrincipalGroup,
	}
}

// CreateGroup makes a group of accounts.
func (s *Service) CreateGroup(ctx context.Context, req *pb.CreateGroupRequest) (*pb.Group, error) {
	return s.principalGroups().create(ctx, req.GetParent(), req.GetGroupId(), req.GetGroup(), req.GetValidateOnly())
}

// GetGroup returns one group.
func (s *Service) GetGroup(ctx context.Context, req *pb.GetGroupRequest) (*pb.Group, error) {
	return s.principalGroups().get(ctx, req.GetName())
}

// ListGroups pages by slug.
func (s *Service) ListGroups(ctx context.Context, req *pb.ListGroupsRequest) (*pb.ListGroupsResponse, error) {
	rows, next, err := s.principalGroups().list(ctx, req)
	return &pb.ListGroupsResponse{Groups: rows, NextPageToken: next}, err
}

// UpdateGroup changes display name, members and groups of identity providers.
func (s *Service) UpdateGroup(ctx context.Context, req *pb.UpdateGroupRequest) (*pb.Group, error) {
	return s.principalGroups().update(ctx, req, req.GetGroup())
}

// DeleteGroup removes a group that no access rule names.
func (s *Service) DeleteGroup(ctx context.Context, req *pb.DeleteGroupRequest) (*emptypb.Empty, error) {
	return s.principalGroups().delete(ctx, req, req.GetEtag())
}

// setPrincipalGroup takes over what a client may set. The store looks for the members again.
func (s *Service) setPrincipalGroup(ctx context.Context, t meta.Tenant, g *meta.PrincipalGroup, m *pb.Group) error {
	if err := checkGroup(m); err != nil {
		return err
	}
	for i, name := range m.GetMembers() {
		if slices.Contains(g.Members, name) {
			continue // the store has it
		}
		kind, slug, _ := access.AccountOf(name)
		_, err := s.store.FindAccount(ctx, t.ID, kind, slug)
		if fault.Is(err, fault.ResourceUnknown) {
			return invalid(fmt.Sprintf("%s[%d]", fieldGroupMembers, i), "%s %q not found in this tenant", kind.Noun(), slug)
		}
		if err != nil {
			return err
		}
	}
	identities, err := s.groupIdentities(ctx, t, m.GetIdentityGroups())
	if err != nil {
		return err
	}
	g.DisplayName, g.Members, g.Identities = m.GetDisplayName(), slices.Sorted(slices.Values(m.GetMembers())), identities
	return nil
}

// checkGroup checks a group as far as it can be by itself.
func checkGroup(m *pb.Group) error {
	if err := checkDisplayName("group.display_name", m.GetDisplayName()); err != nil {
		return err
	}
	if n := len(m.GetMembers()); n > maxGroupMembers {
		return invalid(fieldGroupMembers, "%d members exceed the maximum of %d", n, maxGroupMembers)
	}
	seen := map[string]bool{}
	for i, name := range m.GetMembers() {
		field := fmt.Sprintf("%s[%d]", fieldGroupMembers, i)
		_, slug, ok := access.AccountOf(name)
		if !ok {
			return invalid(field, "%q is not an account; it is one of serviceAccounts/{service_account}, users/{user}", clipped(name))
		}
		if err := checkSlug(field, slug); err != nil {
			return err
		}
		if seen[name] {
			return invalid(field, "%q is there twice", name)
		}
		seen[name] = true
	}
	return checkIdentityGroups(m.GetIdentityGroups())
}

// showPrincipalGroup finds out how the providers are called that groups name.
func (s *Service) showPrincipalGroup(ctx context.Context, t meta.Tenant) (func(meta.PrincipalGroup) *pb.Group, error) {
	providers, err := s.providersOf(ctx, t)
	if err != nil {
		return nil, err
	}
	names := map[int64]string{}
	for name, p := range providers {
		names[p.ID] = name
	}
	return func(g meta.PrincipalGroup) *pb.Group {
		m := &pb.Group{Name: "tenants/" + t.Slug + "/groups/" + g.Slug, DisplayName: g.DisplayName, Members: g.Members}
		for _, i := range g.Identities {
			m.IdentityGroups = append(m.IdentityGroups, &pb.Group_IdentityGroup{Provider: names[i.Provider], Group: i.Group})
		}
		if g.Version != 0 { // else it was only validated
			m.Etag = etag(g.Version)
			m.CreateTime, m.UpdateTime = timestamppb.New(g.CreatedAt), timestamppb.New(g.UpdatedAt)
		}
		return m
	}, nil
}

func (s *Service) applyGroup(ctx context.Context, parent string, r seedResource) error {
	m, mask, err := decoded[*pb.Group](r.Fields)
	if err != nil {
		return err
	}
	return apply(ctx, parent+"/groups/", r.ID, m, mask, s.principalGroups().update)
}
