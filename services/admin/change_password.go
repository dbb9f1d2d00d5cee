package admin

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Logins checks names and secrets as logins do: failed ones are counted and limited, and the
// time of each is the same.
type Logins interface {
	// Authenticate returns the account of the site's tenant; for a wrong secret
	// fault.Unauthenticated, for too many fault.TooMany.
	Authenticate(ctx context.Context, s tenant.Site, name, secret string) (access.Principal, error)
	// AuthenticateAtAnyTenant is Authenticate for clients that name the tenant themselves:
	// failures of an address at all tenants count together.
	AuthenticateAtAnyTenant(ctx context.Context, s tenant.Site, name, secret string) (access.Principal, error)
}

// ChangePassword changes the caller's own password, after the one until now: an access token
// alone, which may be stolen, must not get a secret that outlives it. disable_password_login is
// about clients of registries: browsers still log in by password.
func (s *Service) ChangePassword(ctx context.Context, req *pb.ChangePasswordRequest) (*emptypb.Empty, error) {
	if s.logins == nil {
		return nil, fault.New(fault.Unsupported, fault.UnsupportedReason, "this server compares no passwords")
	}
	if err := checkPassword("new_password", req.GetNewPassword()); err != nil {
		return nil, err
	}
	t, a, err := s.users().find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := s.checkCurrentPassword(ctx, tenant.Site{Tenant: t.ID, TenantSlug: t.Slug}, a.Slug, req.GetCurrentPassword()); err != nil {
		return nil, err
	}
	// The etag makes it fail where the password that was compared is not the present one any more.
	_, err = s.updateUser(ctx, &pb.UpdateUserRequest{UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"password"}}, ValidateOnly: req.GetValidateOnly()},
		&pb.User{Name: req.GetName(), Password: req.GetNewPassword(), Etag: etag(a.Version)})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (s *Service) checkCurrentPassword(ctx context.Context, site tenant.Site, slug, given string) error {
	ctx = web.WithClient(ctx, client(ctx), userAgent(ctx))
	p, err := s.logins.Authenticate(ctx, site, slug, given)
	switch {
	case fault.KindOf(err) == fault.Unauthenticated, err == nil && p.Key != "": // an access token is not the password
		return invalid("current_password", "it is not the password of this user, or the user has none; an admin of the tenant can set one")
	case err != nil:
		return err
	default:
		return nil
	}
}
