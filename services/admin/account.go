package admin

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func (s *Service) accounts() collection[meta.Account, *pb.ServiceAccount] {
	return collection[meta.Account, *pb.ServiceAccount]{
		service: s, name: "serviceAccounts", noun: "service_account",
		new: func(_ context.Context, t meta.Tenant, slug string) meta.Account {
			return meta.Account{Tenant: t.ID, Kind: access.ServiceKind, Slug: slug}
		},
		key: func(a meta.Account) (string, int64) { return a.Slug, a.Version },
		set: func(_ context.Context, _ meta.Tenant, a *meta.Account, m *pb.ServiceAccount) error {
			return setAccount(a, m)
		},
		show:    shown(accountMessage),
		limit:   s.limits.AccountLimit(),
		findRow: findOfKind(s.store, access.ServiceKind), listRows: listOfKind(s.store, access.ServiceKind),
		createRow: s.store.CreateAccount, updateRow: s.store.UpdateAccount, deleteRow: deleteOfKind(s.store, access.ServiceKind),
	}
}

// CreateServiceAccount makes an account without a key.
func (s *Service) CreateServiceAccount(ctx context.Context, req *pb.CreateServiceAccountRequest) (*pb.ServiceAccount, error) {
	return s.accounts().create(ctx, req.GetParent(), req.GetServiceAccountId(), req.GetServiceAccount(), req.GetValidateOnly())
}

// GetServiceAccount returns one account.
func (s *Service) GetServiceAccount(ctx context.Context, req *pb.GetServiceAccountRequest) (*pb.ServiceAccount, error) {
	return s.accounts().get(ctx, req.GetName())
}

// ListServiceAccounts pages by slug.
func (s *Service) ListServiceAccounts(ctx context.Context, req *pb.ListServiceAccountsRequest) (*pb.ListServiceAccountsResponse, error) {
	rows, next, err := s.accounts().list(ctx, req)
	return &pb.ListServiceAccountsResponse{ServiceAccounts: rows, NextPageToken: next}, err
}

// UpdateServiceAccount changes display name, role and whether it is disabled.
func (s *Service) UpdateServiceAccount(ctx context.Context, req *pb.UpdateServiceAccountRequest) (*pb.ServiceAccount, error) {
	return s.accounts().update(ctx, req, req.GetServiceAccount())
}

// DeleteServiceAccount removes an account with its keys.
func (s *Service) DeleteServiceAccount(ctx context.Context, req *pb.DeleteServiceAccountRequest) (*emptypb.Empty, error) {
	return s.accounts().delete(ctx, req, req.GetEtag())
}

// setAccount takes over what a client may set.
func setAccount(a *meta.Account, m *pb.ServiceAccount) error {
	if err := checkDisplayName("service_account.display_name", m.GetDisplayName()); err != nil {
		return err
	}
	role, err := roleOf("service_account.role", m.GetRole())
	if err != nil {
		return err
	}
	a.DisplayName, a.Role, a.Disabled = m.GetDisplayName(), role, m.GetDisabled()
	return nil
}

// roles are the roles that an account may have, in the order in which messages name them.
var roles = []struct {
	message pb.ServiceAccount_Role
	role    access.Role
}{
	{pb.ServiceAccount_MEMBER, access.Member},
	{pb.ServiceAccount_AUDITOR, access.Auditor},
	{pb.ServiceAccount_READER, access.Reader},
	{pb.ServiceAccount_WRITER, access.Writer},
	{pb.ServiceAccount_ADMIN, access.Admin},
}

func roleOf(field string, given pb.ServiceAccount_Role) (access.Role, error) {
	var names []string
	for _, known := range roles {
		if known.message == given {
			return known.role, nil
		}
		names = append(names, string(known.role))
	}
	return "", invalid(field, "%s is not a role; it is one of %s", given, strings.Join(names, ", "))
}

func findOfKind(s meta.AccountRecords, k access.Kind) func(context.Context, tenant.ID, string) (meta.Account, error) {
	return func(ctx context.Context, t tenant.ID, slug string) (meta.Account, error) {
		return s.FindAccount(ctx, t, k, slug)
	}
}

func listOfKind(s meta.AccountRecords, k access.Kind) func(context.Context, tenant.ID, meta.Page) ([]meta.Account, error) {
	return func(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Account, error) {
		return s.ListAccounts(ctx, t, k, p)
	}
}

func deleteOfKind(s meta.AccountRecords, k access.Kind) func(context.Context, meta.Cause, tenant.ID, string, int64) error {
	return func(ctx context.Context, by meta.Cause, t tenant.ID, slug string, version int64) error {
		return s.DeleteAccount(ctx, by, t, k, slug, version)
	}
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

// seedAccount is a service account of a seed file.
type seedAccount struct {
	ID     string         `yaml:"id"`
	Fields seedFields     `yaml:",inline"`
	Keys   []seedKey      `yaml:"keys"`
	Trusts []seedResource `yaml:"trusts"`
}

func (k *seedChecker) account(at, tenantSlug string, a seedAccount) {
	k.note(at, checked(a.Fields, func(m *pb.ServiceAccount) error {
		if !a.Fields.has("role") {
			m.Role = someRole
		}
		return setAccount(&meta.Account{}, m)
	}))
	k.ids(at+".keys", mapped(a.Keys, func(key seedKey) string { return key.ID }))
	for i, key := range a.Keys {
		_, err := key.hash(k.dir)
		k.note(fmt.Sprintf("%s.keys[%d]", at, i), err)
	}
	k.ids(at+".trusts", mapped(a.Trusts, func(r seedResource) string { return r.ID }))
	for i, r := range a.Trusts {
		k.note(fmt.Sprintf("%s.trusts[%d]", at, i), k.trust(tenantSlug, r))
	}
}

func (s *Service) applyAccount(ctx context.Context, parent string, a seedAccount, dir string) error {
	m, mask, err := decoded[*pb.ServiceAccount](a.Fields)
	if err == nil {
		err = apply(ctx, parent+"/serviceAccounts/", a.ID, m, mask, s.accounts().update)
	}
	if err != nil {
		return err
	}
	if err := each("keys", a.Keys, func(k seedKey) error { return s.applyKey(ctx, m.GetName(), k, dir) }); err != nil {
		return err
	}
	return each("trusts", a.Trusts, func(r seedResource) error { return s.applyTrust(ctx, m.GetName(), r) })
}
