package admin

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

// Lives of access tokens: people leave, and forget what they made.
const (
	defaultTokenTTL = 90 * 24 * time.Hour
	maxTokenTTL     = 366 * 24 * time.Hour
)

func (s *Service) accessTokens() accountKeys {
	return accountKeys{
		service: s, limit: s.limits.KeyLimit(), find: s.tokenOwner,
		owners: []string{"tenants", "users"}, name: "accessTokens", noun: "an access token", prefix: secretPrefix,
		defaultTTL: defaultTokenTTL, shortest: minTTL, longest: maxTokenTTL, field: "access_token.ttl", limits: "1 second and 366 days",
	}
}

// CreateAccessToken creates an access token and returns its secret, only here.
func (s *Service) CreateAccessToken(ctx context.Context, req *pb.CreateAccessTokenRequest) (*pb.AccessToken, error) {
	note := req.GetAccessToken().GetDescription()
	if err := checkDisplayName("access_token.description", note); err != nil {
		return nil, err
	}
	tokens := s.accessTokens()
	if req.GetAccessToken().GetAllTenants() {
		tokens = s.personTokens()
	}
	var err error
	if tokens.latest, err = s.latestToken(ctx); err != nil {
		return nil, err
	}
	k, secret, err := tokens.create(ctx, req.GetParent(), note, req.GetAccessToken().GetTtl(), req.GetValidateOnly())
	if err != nil || req.GetValidateOnly() {
		return &pb.AccessToken{}, err
	}
	m := accessTokenMessage(req.GetParent(), k)
	m.Secret = secret
	return m, nil
}

// latestToken is when the last of the access tokens may end that the caller makes; zero where
// nothing bounds it. A token that was stolen must not keep itself alive by making others. An
// admin is not bound: it could make an account as well, or a key that never ends. Nor is a
// caller that logged in with the password, which is asked for again from time to time.
func (s *Service) latestToken(ctx context.Context) (time.Time, error) {
	c := callerOf(ctx)
	if c.admin() || c.principal.Key == "" {
		return time.Time{}, nil
	}
	k, err := s.usedKey(ctx)
	return k.ExpiresAt, err
}

// ListAccessTokens pages by name, without secrets.
func (s *Service) ListAccessTokens(ctx context.Context, req *pb.ListAccessTokensRequest) (*pb.ListAccessTokensResponse, error) {
	rows, next, err := s.accessTokens().list(ctx, req)
	return &pb.ListAccessTokensResponse{
		AccessTokens:  mapped(rows, func(k meta.AccountKey) *pb.AccessToken { return accessTokenMessage(req.GetParent(), k) }),
		NextPageToken: next,
	}, err
}

// DeleteAccessToken removes an access token; its secret is refused from then on.
func (s *Service) DeleteAccessToken(ctx context.Context, req *pb.DeleteAccessTokenRequest) (*emptypb.Empty, error) {
	return s.accessTokens().delete(ctx, req)
}

func accessTokenMessage(user string, k meta.AccountKey) *pb.AccessToken {
	return &pb.AccessToken{
		Name: user + "/accessTokens/" + k.Name, Description: k.Note,
		CreateTime: timestamppb.New(k.CreatedAt), ExpireTime: timeOrNone(k.ExpiresAt),
		LastUsedTime: timeOrNone(k.UsedAt), LastUsedAddress: k.UsedFrom, AllTenants: k.AllTenants,
	}
}
