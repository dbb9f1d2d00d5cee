package admin

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

const refreshTokensCollection = "refreshTokens"

// ListRefreshTokens pages by name.
func (s *Service) ListRefreshTokens(ctx context.Context, req *pb.ListRefreshTokensRequest) (*pb.ListRefreshTokensResponse, error) {
	a, err := s.account(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	tokens, err := s.store.ListRefreshTokens(ctx, a.Tenant, a.Kind, a.Slug)
	if err != nil {
		return nil, err
	}
	rows, next, err := pageOfAll(s, refreshTokensCollection, req.GetParent(), req, tokens, func(r meta.RefreshToken) string { return r.Name })
	if err != nil {
		return nil, err
	}
	return &pb.ListRefreshTokensResponse{
		RefreshTokens: mapped(rows, func(r meta.RefreshToken) *pb.RefreshToken { return refreshTokenMessage(req.GetParent(), r) }),
		NextPageToken: next,
	}, nil
}

// DeleteRefreshToken ends a refresh token.
func (s *Service) DeleteRefreshToken(ctx context.Context, req *pb.DeleteRefreshTokenRequest) (*emptypb.Empty, error) {
	parent, name, found := strings.Cut(req.GetName(), "/"+refreshTokensCollection+"/")
	if !found || name == "" {
		return nil, badName("name", req.GetName(), []string{"tenants", "serviceAccounts", refreshTokensCollection})
	}
	a, err := s.account(ctx, "name", parent)
	if err != nil {
		return deleted(err, req)
	}
	if req.GetValidateOnly() {
		tokens, err := s.store.ListRefreshTokens(ctx, a.Tenant, a.Kind, a.Slug)
		if err == nil && !slices.ContainsFunc(tokens, func(r meta.RefreshToken) bool { return r.Name == name }) {
			err = fault.New(fault.NotFound, fault.ResourceUnknown, "refresh token not found")
		}
		return deleted(err, req)
	}
	return deleted(s.store.DeleteRefreshToken(ctx, causedBy(ctx, "refresh_token", name, ""), a.Tenant, a.Kind, a.Slug, name), req)
}

func refreshTokenMessage(parent string, r meta.RefreshToken) *pb.RefreshToken {
	return &pb.RefreshToken{
		Name: parent + "/" + refreshTokensCollection + "/" + r.Name, ClientId: r.Client, Key: r.Key,
		CreateTime: timestamppb.New(r.CreatedAt), CreateAddress: r.CreatedFrom,
		LastUsedTime: timestamppb.New(r.LastUsedAt), LastUsedAddress: r.LastUsedFrom,
		ExpireTime: timestamppb.New(r.ExpiresAt),
	}
}
