package admin

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// showIdentity adds to a user what an identity provider says of the person.
func (s *Service) showIdentity(ctx context.Context, t meta.Tenant, slug string, m *pb.User) error {
	p, err := s.store.FindPerson(ctx, t.ID, slug)
	if fault.Is(err, fault.ResourceUnknown) || err == nil && p.Provider == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	m.Identity = &pb.User_Identity{LoginName: p.LoginName, Groups: p.Groups, GroupsExpireTime: moment(p.GroupsUntil), ReadTime: timestamppb.New(p.ReadAt), EndTime: moment(p.EndedAt)}
	provider, err := s.store.FindIdentityProviderByID(ctx, p.Provider)
	switch {
	case err == nil:
		m.Identity.Provider = providerName(t, provider)
	case !fault.Is(err, fault.ResourceUnknown): // else it was deleted
		return err
	}
	return nil
}

// checkHasNoProvider refuses a password for a person whose password is at an identity provider.
func (s *Service) checkHasNoProvider(ctx context.Context, a meta.Account) error {
	if a.ID == 0 {
		return nil
	}
	p, err := s.store.FindPerson(ctx, a.Tenant, a.Slug)
	if err == nil && p.Provider != 0 {
		return invalid("user.password", "this user is a person of an identity provider, who has a password there; access tokens work here, too")
	}
	return err
}
