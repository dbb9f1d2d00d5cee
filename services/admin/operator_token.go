package admin

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

func (s *Service) operatorTokens() accountKeys {
	return accountKeys{
		service: s, limit: s.limits.OperatorTokenLimit(), find: s.operatorOwner,
		owners: []string{"operators"}, name: "tokens", noun: "an operator token", prefix: operatorPrefix,
		defaultTTL: defaultTokenTTL, shortest: minTTL, longest: maxTokenTTL, field: "token.ttl", limits: "1 second and 366 days",
	}
}

// operatorOwner finds an operator as the owner of tokens.
func (s *Service) operatorOwner(ctx context.Context, field, name string) (keyOwner, error) {
	_, o, err := s.operators().find(ctx, field, name)
	return keyOwner{
		right: "an operator",
		list:  func(ctx context.Context) ([]meta.AccountKey, error) { return s.store.ListOperatorTokens(ctx, o.Slug) },
		create: func(ctx context.Context, by meta.Cause, k meta.AccountKey) (meta.AccountKey, error) {
			return s.store.CreateOperatorToken(ctx, by, o.Slug, k)
		},
		delete: func(ctx context.Context, by meta.Cause, key string) error {
			return s.store.DeleteOperatorToken(ctx, by, o.Slug, key)
		},
	}, err
}

// CreateOperatorToken creates a token of an operator and returns its secret, only here.
func (s *Service) CreateOperatorToken(ctx context.Context, req *pb.CreateOperatorTokenRequest) (*pb.OperatorToken, error) {
	note := req.GetToken().GetDescription()
	if err := checkDisplayName("token.description", note); err != nil {
		return nil, err
	}
	k, secret, err := s.operatorTokens().create(ctx, req.GetParent(), note, req.GetToken().GetTtl(), req.GetValidateOnly())
	if err != nil || req.GetValidateOnly() {
		return &pb.OperatorToken{}, err
	}
	m := operatorTokenMessage(req.GetParent(), k)
	m.Secret = secret
	return m, nil
}

// ListOperatorTokens pages by name, without secrets.
func (s *Service) ListOperatorTokens(ctx context.Context, req *pb.ListOperatorTokensRequest) (*pb.ListOperatorTokensResponse, error) {
	rows, next, err := s.operatorTokens().list(ctx, req)
	return &pb.ListOperatorTokensResponse{
		Tokens:        mapped(rows, func(k meta.AccountKey) *pb.OperatorToken { return operatorTokenMessage(req.GetParent(), k) }),
		NextPageToken: next,
	}, err
}

// DeleteOperatorToken removes a token; it is refused from then on.
func (s *Service) DeleteOperatorToken(ctx context.Context, req *pb.DeleteOperatorTokenRequest) (*emptypb.Empty, error) {
	return s.operatorTokens().delete(ctx, req)
}

func operatorTokenMessage(operator string, k meta.AccountKey) *pb.OperatorToken {
	return &pb.OperatorToken{
		Name: operator + "/tokens/" + k.Name, Description: k.Note,
		CreateTime: timestamppb.New(k.CreatedAt), ExpireTime: timeOrNone(k.ExpiresAt),
		LastUsedTime: timeOrNone(k.UsedAt), LastUsedAddress: k.UsedFrom,
	}
}
