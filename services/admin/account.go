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
)

// accountFields are those of a service account that its clients may set.
var accountFields = []string{"display_name", "role", "disabled"}

// CreateServiceAccount makes an account without a key.
func (s *Service) CreateServiceAccount(ctx context.Context, req *pb.CreateServiceAccountRequest) (*pb.ServiceAccount, error) {
	a := meta.Account{Slug: req.GetServiceAccountId()}
	if err := checkSlug("service_account_id", a.Slug); err != nil {
		return nil, err
	}
	if err := setAccount(&a, req.GetServiceAccount()); err != nil {
		return nil, err
	}
	t, err := s.findTenant(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	a.Tenant = t.ID
	if req.GetValidateOnly() {
		if err := absent(s.store.FindAccount(ctx, t.ID, a.Slug)); err != nil {
			return nil, err
		}
		if err := room(s.limits.AccountLimit(), func(p meta.Page) ([]meta.Account, error) { return s.store.ListAccounts(ctx, t.ID, p) }); err != nil {
			return nil, err
		}
		return accountMessage(t, a), nil
	}
	a, err = s.store.CreateAccount(ctx, cause(ctx), a)
	if err != nil {
		return nil, err
	}
	return accountMessage(t, a), nil
}

// GetServiceAccount answers one account.
func (s *Service) GetServiceAccount(ctx context.Context, req *pb.GetServiceAccountRequest) (*pb.ServiceAccount, error) {
	t, a, err := s.findAccount(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	return accountMessage(t, a), nil
}

// ListServiceAccounts pages by slug.
func (s *Service) ListServiceAccounts(ctx context.Context, req *pb.ListServiceAccountsRequest) (*pb.ListServiceAccountsResponse, error) {
	t, err := s.findTenant(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	rows, next, err := listPage(s, "serviceAccounts", req.GetParent(), req,
		func(p meta.Page) ([]meta.Account, error) { return s.store.ListAccounts(ctx, t.ID, p) },
		func(a meta.Account) string { return a.Slug })
	if err != nil {
		return nil, err
	}
	return &pb.ListServiceAccountsResponse{
		ServiceAccounts: mapped(rows, func(a meta.Account) *pb.ServiceAccount { return accountMessage(t, a) }),
		NextPageToken:   next,
	}, nil
}

// UpdateServiceAccount changes display name, role and whether it is disabled.
func (s *Service) UpdateServiceAccount(ctx context.Context, req *pb.UpdateServiceAccountRequest) (*pb.ServiceAccount, error) {
	t, a, err := s.findAccount(ctx, "service_account.name", req.GetServiceAccount().GetName())
	if fault.Is(err, fault.ResourceUnknown) && req.GetAllowMissing() {
		ids, err := splitName("service_account.name", req.GetServiceAccount().GetName(), "tenants", "serviceAccounts")
		if err != nil {
			return nil, err
		}
		return s.CreateServiceAccount(ctx, &pb.CreateServiceAccountRequest{
			Parent: "tenants/" + ids[0], ServiceAccountId: ids[1],
			ServiceAccount: req.GetServiceAccount(), ValidateOnly: req.GetValidateOnly(),
		})
	}
	if err != nil {
		return nil, err
	}
	if err := checkEtag(req.GetServiceAccount().GetEtag(), a.Version); err != nil {
		return nil, err
	}
	before := accountMessage(t, a)
	after := proto.CloneOf(before)
	if err := merge(after, req.GetServiceAccount(), req.GetUpdateMask(), accountFields); err != nil {
		return nil, err
	}
	if err := setAccount(&a, after); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() || proto.Equal(before, after) {
		return after, nil
	}
	a, err = s.store.UpdateAccount(ctx, caused(ctx, before, after), a)
	if err != nil {
		return nil, err
	}
	return accountMessage(t, a), nil
}

// DeleteServiceAccount removes an account with its keys.
func (s *Service) DeleteServiceAccount(ctx context.Context, req *pb.DeleteServiceAccountRequest) (*emptypb.Empty, error) {
	t, a, err := s.findAccount(ctx, "name", req.GetName())
	if err != nil {
		return deleted(err, req)
	}
	if err := checkEtag(req.GetEtag(), a.Version); err != nil || req.GetValidateOnly() {
		return deleted(err, req)
	}
	return deleted(s.store.DeleteAccount(ctx, cause(ctx), t.ID, a.Slug, a.Version), req)
}

// findAccount finds by resource name; field is where the request carries it.
func (s *Service) findAccount(ctx context.Context, field, name string) (meta.Tenant, meta.Account, error) {
	ids, err := splitName(field, name, "tenants", "serviceAccounts")
	if err != nil {
		return meta.Tenant{}, meta.Account{}, err
	}
	t, err := s.tenantBySlug(ctx, ids[0])
	if err != nil {
		return meta.Tenant{}, meta.Account{}, err
	}
	a, err := s.store.FindAccount(ctx, t.ID, ids[1])
	return t, a, err
}

// setAccount takes over what a client may set.
func setAccount(a *meta.Account, m *pb.ServiceAccount) error {
	if err := checkDisplayName("service_account.display_name", m.GetDisplayName()); err != nil {
		return err
	}
	switch m.GetRole() {
	case pb.ServiceAccount_READER:
		a.Role = access.Reader
	case pb.ServiceAccount_WRITER:
		a.Role = access.Writer
	case pb.ServiceAccount_ADMIN:
		a.Role = access.Admin
	default:
		return invalid("service_account.role", "%s is not a role; it is one of READER, WRITER, ADMIN", m.GetRole())
	}
	a.DisplayName, a.Disabled = m.GetDisplayName(), m.GetDisabled()
	return nil
}

func accountMessage(t meta.Tenant, a meta.Account) *pb.ServiceAccount {
	m := &pb.ServiceAccount{
		Name:        "tenants/" + t.Slug + "/serviceAccounts/" + a.Slug,
		DisplayName: a.DisplayName,
		Role:        pb.ServiceAccount_Role(pb.ServiceAccount_Role_value[string(a.Role)]),
		Disabled:    a.Disabled,
	}
	if a.ID != 0 { // else it was only validated
		m.Etag = etag(a.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(a.CreatedAt), timestamppb.New(a.UpdatedAt)
	}
	return m
}
