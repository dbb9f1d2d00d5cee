package admin

import (
	"context"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
)

// RevokeTokens revokes all tokens of an account; its secrets stay.
func (s *Service) RevokeTokens(ctx context.Context, req *pb.RevokeTokensRequest) (*emptypb.Empty, error) {
	a, err := s.account(ctx, "name", req.GetName())
	if err == nil && !req.GetValidateOnly() {
		err = s.store.RevokeTokens(ctx, causedBy(ctx, "tokens", "(all)", ""), a.Tenant, a.Kind, a.Slug)
	}
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// account finds a service account or a user by its name.
func (s *Service) account(ctx context.Context, field, name string) (meta.Account, error) {
	collection, kind := "serviceAccounts", access.ServiceKind
	if parts := strings.Split(name, "/"); len(parts) > 2 && parts[2] == "users" {
		collection, kind = "users", access.UserKind
	}
	ids, err := splitName(field, name, "tenants", collection)
	if err != nil {
		return meta.Account{}, err
	}
	t, err := s.tenantBySlug(ctx, ids[0])
	if err != nil {
		return meta.Account{}, err
	}
	return s.store.FindAccount(ctx, t.ID, kind, ids[1])
}
