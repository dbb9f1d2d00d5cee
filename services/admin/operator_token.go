package admin

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// operatorKeys are the tokens of operators as keys of accounts.
type operatorKeys struct{ meta.Operators }

// CreateAccountKey implements meta.AccountKeys.
func (o operatorKeys) CreateAccountKey(ctx context.Context, by meta.Cause, _ tenant.ID, _ access.Kind, slug string, k meta.AccountKey) (meta.AccountKey, error) {
	return o.CreateOperatorToken(ctx, by, slug, k)
}

// ListAccountKeys implements meta.AccountKeys.
func (o operatorKeys) ListAccountKeys(ctx context.Context, _ tenant.ID, _ access.Kind, slug string) ([]meta.AccountKey, error) {
	return o.ListOperatorTokens(ctx, slug)
}

// DeleteAccountKey implements meta.AccountKeys.
func (o operatorKeys) DeleteAccountKey(ctx context.Context, by meta.Cause, _ tenant.ID, _ access.Kind, slug, name string) error {
	return o.DeleteOperatorToken(ctx, by, slug, name)
}

func (s *Service) operatorTokens() accountKeys {
	return accountKeys{
		service: s, store: operatorKeys{s.store}, limit: s.limits.OperatorTokenLimit(),
		find: func(ctx context.Context, field, name string) (meta.Tenant, meta.Account, error) {
			_, o, err := s.operators().find(ctx, field, name)
			return meta.Tenant{}, meta.Account{Slug: o.Slug, Role: "OPERATOR"}, err
		},
		owners: []string{"operators"}, name: "tokens", noun: "an operator token", prefix: operatorPrefix,
		defaultTTL: defaultTokenTTL, shortest: minTTL, ttl: maxTokenTTL, field: "token.ttl", limits: "1 second and 366 days",
	}
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
