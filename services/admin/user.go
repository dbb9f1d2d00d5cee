package admin

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/password"
)

func (s *Service) users() collection[meta.Account, *pb.User] {
	return collection[meta.Account, *pb.User]{
		service: s, name: "users", noun: "user",
		new: func(_ context.Context, t meta.Tenant, slug string) meta.Account {
			return meta.Account{Tenant: t.ID, Kind: access.UserKind, Slug: slug}
		},
		key: func(a meta.Account) (string, int64) { return a.Slug, a.Version },
		set: func(ctx context.Context, _ meta.Tenant, a *meta.Account, m *pb.User) error {
			return s.setUser(ctx, a, m)
		},
		show:    shown(userMessage),
		limit:   s.limits.UserLimit(),
		findRow: findOfKind(s.store, access.UserKind), listRows: listOfKind(s.store, access.UserKind),
		createRow: s.store.CreateAccount, updateRow: s.store.UpdateAccount, deleteRow: deleteOfKind(s.store, access.UserKind),
	}
}

// CreateUser makes a user.
func (s *Service) CreateUser(ctx context.Context, req *pb.CreateUserRequest) (*pb.User, error) {
	return s.users().create(ctx, req.GetParent(), req.GetUserId(), req.GetUser(), req.GetValidateOnly())
}

// GetUser returns one user, with what an identity provider says of the person.
func (s *Service) GetUser(ctx context.Context, req *pb.GetUserRequest) (*pb.User, error) {
	t, a, err := s.users().find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	m := userMessage(t, a)
	return m, s.showIdentity(ctx, t, a.Slug, m)
}

// ListUsers pages by slug.
func (s *Service) ListUsers(ctx context.Context, req *pb.ListUsersRequest) (*pb.ListUsersResponse, error) {
	rows, next, err := s.users().list(ctx, req)
	return &pb.ListUsersResponse{Users: rows, NextPageToken: next}, err
}

// UpdateUser changes display name, role, password, and whether the user is disabled.
func (s *Service) UpdateUser(ctx context.Context, req *pb.UpdateUserRequest) (*pb.User, error) {
	return s.updateUser(ctx, req, req.GetUser())
}

// DeleteUser removes a user with their access tokens.
func (s *Service) DeleteUser(ctx context.Context, req *pb.DeleteUserRequest) (*emptypb.Empty, error) {
	return s.users().delete(ctx, req, req.GetEtag())
}

// updateUser is not collection.update, for a password is never shown: what an update does
// not name stays. The same password again is no change.
func (s *Service) updateUser(ctx context.Context, req updateRequest, m *pb.User) (*pb.User, error) {
	t, a, err := s.users().find(ctx, "user.name", m.GetName())
	if fault.Is(err, fault.ResourceUnknown) && req.GetAllowMissing() {
		return s.users().createNamed(ctx, m, req.GetValidateOnly())
	}
	if err != nil {
		return nil, err
	}
	if err := checkEtag(m.GetEtag(), a.Version); err != nil {
		return nil, err
	}
	before := userMessage(t, a)
	before.Password = unchangedSecret
	after := proto.CloneOf(before)
	m = proto.CloneOf(m)
	if m.GetHasPassword() && m.GetPassword() == "" { // as it was read
		m.Password = unchangedSecret
	}
	if err := merge("user", after, m, req.GetUpdateMask()); err != nil {
		return nil, err
	}
	was := a
	if err := s.setUser(ctx, &a, after); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() || a == was {
		return userMessage(t, a), nil
	}
	if a, err = s.store.UpdateAccount(ctx, caused(ctx, before, after), a); err != nil {
		return nil, err
	}
	return userMessage(t, a), nil
}

// setUser takes over what a client may set.
func (s *Service) setUser(ctx context.Context, a *meta.Account, m *pb.User) error {
	role, err := checkUser(m)
	if err != nil {
		return err
	}
	a.DisplayName, a.Role, a.Disabled = m.GetDisplayName(), role, m.GetDisabled()
	switch given := m.GetPassword(); given {
	case unchangedSecret:
		return nil
	case "":
		a.Password = ""
		return nil
	default:
		if err := s.checkHasNoProvider(ctx, *a); err != nil {
			return err
		}
		return s.setPassword(ctx, a, given)
	}
}

// setPassword keeps the hash of a password, and the present one if it is of that password.
func (s *Service) setPassword(ctx context.Context, a *meta.Account, given string) error {
	if a.Password != "" {
		if same, err := s.passwords.Verify(ctx, a.Tenant, given, a.Password); err != nil || same {
			return err
		}
	}
	hash, err := s.passwords.Hash(ctx, a.Tenant, given)
	a.Password = hash
	return err
}

// checkUser checks what a client sets, and returns the role.
func checkUser(m *pb.User) (access.Role, error) {
	if err := checkDisplayName("user.display_name", m.GetDisplayName()); err != nil {
		return "", err
	}
	role, err := roleOf("user.role", m.GetRole())
	if err != nil {
		return "", err
	}
	if given := m.GetPassword(); given != "" && given != unchangedSecret {
		return role, checkPassword("user.password", given)
	}
	return role, nil
}

func checkPassword(field, given string) error {
	switch {
	case len(given) < password.MinLength || len(given) > password.MaxLength:
		return invalid(field, "a password has between %d and %d bytes, and this one %d", password.MinLength, password.MaxLength, len(given))
	case !password.Possible(given):
		return invalid(field, "a password does not begin with %s, as keys and access tokens do", password.SecretPrefix)
	default:
		return nil
	}
}

func userMessage(t meta.Tenant, a meta.Account) *pb.User {
	m := &pb.User{
		Name:        "tenants/" + t.Slug + "/users/" + a.Slug,
		DisplayName: a.DisplayName,
		Role:        pb.ServiceAccount_Role(pb.ServiceAccount_Role_value[string(a.Role)]),
		Disabled:    a.Disabled,
		HasPassword: a.Password != "",
	}
	if a.ID != 0 { // else it was only validated
		m.Etag = etag(a.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(a.CreatedAt), timestamppb.New(a.UpdatedAt)
	}
	return m
}
