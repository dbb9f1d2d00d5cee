package admin

import (
	"context"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
)

const signingKeysCollection = "signingKeys"

// ListSigningKeys pages by name.
func (s *Service) ListSigningKeys(ctx context.Context, req *pb.ListSigningKeysRequest) (*pb.ListSigningKeysResponse, error) {
	keys, err := s.store.ListVerifyKeys(ctx)
	if err != nil {
		return nil, err
	}
	rows, next, err := pageOfAll(s, signingKeysCollection, "", req, keys, func(k access.VerifyKey) string { return k.ID })
	if err != nil {
		return nil, err
	}
	return &pb.ListSigningKeysResponse{SigningKeys: mapped(rows, signingKeyMessage), NextPageToken: next}, nil
}

// RotateSigningKeys has the processes that issue tokens replace the keys that sign now. It
// reads no private key, and writes none: the process of the admin API may have no right to.
func (s *Service) RotateSigningKeys(ctx context.Context, req *pb.RotateSigningKeysRequest) (*pb.RotateSigningKeysResponse, error) {
	keys, err := s.store.ListVerifyKeys(ctx)
	if err != nil {
		return nil, err
	}
	if !req.GetValidateOnly() {
		if err := s.store.ReplaceSigningKeys(ctx, causedBy(ctx, "signing_keys", "(present)", "(new)")); err != nil {
			return nil, err
		}
	}
	keys = slices.DeleteFunc(keys, func(k access.VerifyKey) bool { return !k.RetiredAt.IsZero() })
	return &pb.RotateSigningKeysResponse{SigningKeys: mapped(keys, signingKeyMessage)}, nil
}

func signingKeyMessage(k access.VerifyKey) *pb.SigningKey {
	m := &pb.SigningKey{
		Name:          signingKeysCollection + "/" + k.ID,
		CreateTime:    timestamppb.New(k.CreatedAt),
		SignStartTime: timestamppb.New(k.SignsFrom),
	}
	if !k.RetiredAt.IsZero() {
		m.SignEndTime = timestamppb.New(k.RetiredAt)
	}
	return m
}
