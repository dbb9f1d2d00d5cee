package admin

import (
	"context"
	"slices"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// trust checks a trust of a seed file, which has all of its fields: none changes.
func (k *seedChecker) trust(tenantSlug string, r seedResource) error {
	return checked(r.Fields, func(m *pb.Trust) error {
		made, err := trustOf(m)
		if err != nil {
			return err
		}
		return issuerAddress(k.ctx, k.CheckAddress, tenantSlug, made.Issuer)
	})
}

// applyTrust makes the trust, or makes it again where the file says something else.
func (s *Service) applyTrust(ctx context.Context, account string, r seedResource) error {
	if err := checkSeedID(r.ID); err != nil {
		return err
	}
	m, _, err := decoded[*pb.Trust](r.Fields)
	if err != nil {
		return err
	}
	want, err := trustOf(m)
	if err != nil {
		return err
	}
	name := account + "/" + trustsCollection + "/" + r.ID
	_, there, err := s.findTrust(ctx, name)
	switch {
	case err == nil && sameTrust(there, want):
		return nil
	case err == nil:
		if _, err := s.DeleteTrust(ctx, &pb.DeleteTrustRequest{Name: name}); err != nil {
			return err
		}
	case !fault.Is(err, fault.ResourceUnknown):
		return err
	}
	_, err = s.CreateTrust(ctx, &pb.CreateTrustRequest{Parent: account, TrustId: r.ID, Trust: m})
	return err
}

// sameTrust compares what a file says. A file has no lifetimes: it means the same at any time.
func sameTrust(a, b meta.Trust) bool {
	return a.Issuer == b.Issuer && slices.Equal(a.Audiences, b.Audiences) && a.Condition == b.Condition && a.Note == b.Note
}
