package admin

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// PurgeDigest ends a digest in a tenant for good, and says when its bytes are gone.
func (s *Service) PurgeDigest(ctx context.Context, req *pb.PurgeDigestRequest) (*pb.PurgeDigestResponse, error) {
	t, err := s.findTenant(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	d, err := oci.ParseDigest(req.GetDigest())
	if err != nil {
		return nil, fault.From(err).WithField("digest")
	}
	if err := s.mayPurge(ctx, t, d); err != nil {
		return nil, err
	}
	var state meta.PurgeState
	if req.GetValidateOnly() {
		state, err = s.store.FindPurge(ctx, t.ID, d)
	} else {
		state, err = s.store.PurgeDigest(ctx, meta.DigestPurge{Tenant: t.ID, Digest: d, Force: req.GetForce(), By: causedBy(ctx, "digest", d.String(), "")})
	}
	if err != nil {
		return nil, err
	}
	return purgeMessage(t, state), nil
}

// mayPurge needs the right in every hosted repository that has the digest, or, where none
// has it, in any that there might be. A cache is only a copy.
func (s *Service) mayPurge(ctx context.Context, t meta.Tenant, d oci.Digest) error {
	c := callerOf(ctx)
	if c.operator {
		return nil
	}
	v, err := s.viewByRules(ctx, "tenants/"+t.Slug)
	if err != nil {
		return err
	}
	places, err := s.store.ListPurgePlaces(ctx, t.ID, d)
	if err != nil {
		return err
	}
	allowed := len(places) > 0
	for _, p := range places {
		rights := v.in(meta.Registry{Slug: p.Registry})
		allowed = allowed && rights.Allowed(p.Repository).Has(access.Purge)
	}
	if len(places) == 0 {
		allowed, err = s.purgesSomewhere(ctx, v, t)
	}
	if err == nil && !allowed {
		err = fault.New(fault.Denied, fault.DeniedReason,
			"account %q has role %s; this needs the action PURGE on every repository that has the digest, by role ADMIN or access rules", c.account(), c.principal.Role)
	}
	return err
}

func (s *Service) purgesSomewhere(ctx context.Context, v view, t meta.Tenant) (bool, error) {
	for page := (meta.Page{Size: largestPage}); ; {
		rows, err := s.store.ListRegistries(ctx, t.ID, page)
		if err != nil {
			return false, err
		}
		for _, r := range rows {
			if rights := v.in(r); rights.Somewhere().Has(access.Purge) {
				return true, nil
			}
		}
		if len(rows) < page.Size {
			return false, nil
		}
		page.After = rows[len(rows)-1].Slug
	}
}

func purgeMessage(t meta.Tenant, state meta.PurgeState) *pb.PurgeDigestResponse {
	m := &pb.PurgeDigestResponse{State: pb.PurgeDigestResponse_GONE}
	switch {
	case state.Running:
		m.State = pb.PurgeDigestResponse_ENDING
	case state.Present:
		m.State = pb.PurgeDigestResponse_PRESENT
	case state.Objects > 0:
		m.State = pb.PurgeDigestResponse_DELETING
	}
	if !state.DeletedAt.IsZero() {
		m.GoneTime = timestamppb.New(state.DeletedAt)
	}
	for _, named := range state.Manifests[:min(len(state.Manifests), meta.MaxPurgedManifests)] {
		m.Manifests = append(m.Manifests, "tenants/"+t.Slug+"/"+named.Name())
	}
	return m
}
