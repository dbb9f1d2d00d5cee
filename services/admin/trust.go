package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/workload"
)

const (
	trustsCollection = "trusts"
	maxAudiences     = 16
	longestAudience  = 300 // bytes

	fieldIssuer    = "trust.issuer"
	fieldAudiences = "trust.audiences"
)

// CreateTrust lets jobs log in as a service account.
func (s *Service) CreateTrust(ctx context.Context, req *pb.CreateTrustRequest) (*pb.Trust, error) {
	if err := checkSlug("trust_id", req.GetTrustId()); err != nil {
		return nil, err
	}
	made, err := trustOf(req.GetTrust())
	if err != nil {
		return nil, err
	}
	made.Name = req.GetTrustId()
	t, a, err := s.accounts().find(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if err := s.checkIssuerAddress(ctx, t.Slug, made.Issuer); err != nil {
		return nil, err
	}
	m := trustMessage(req.GetParent(), made)
	if req.GetValidateOnly() {
		return m, s.mayTrust(ctx, a, made.Name)
	}
	m.Ttl = req.GetTrust().GetTtl()
	if made, err = s.store.CreateTrust(ctx, caused(ctx, &pb.Trust{}, m), a.Tenant, a.Slug, made); err != nil {
		return nil, err
	}
	return trustMessage(req.GetParent(), made), nil
}

// mayTrust says for a creation that is only validated what the store would say.
func (s *Service) mayTrust(ctx context.Context, a meta.Account, name string) error {
	all, err := s.store.ListTrusts(ctx, a.Tenant, a.Slug)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(k meta.Trust) bool { return k.Name == name }) {
		return absent(name, nil)
	}
	return s.limits.TrustLimit().Check(len(all) + 1)
}

// GetTrust returns one trust.
func (s *Service) GetTrust(ctx context.Context, req *pb.GetTrustRequest) (*pb.Trust, error) {
	_, k, err := s.findTrust(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	return trustMessage(parentOf(req.GetName(), k), k), nil
}

// ListTrusts pages by name.
func (s *Service) ListTrusts(ctx context.Context, req *pb.ListTrustsRequest) (*pb.ListTrustsResponse, error) {
	_, a, err := s.accounts().find(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	all, err := s.store.ListTrusts(ctx, a.Tenant, a.Slug)
	if err != nil {
		return nil, err
	}
	rows, next, err := pageOfAll(s, trustsCollection, req.GetParent(), req, all, func(k meta.Trust) string { return k.Name })
	return &pb.ListTrustsResponse{
		Trusts:        mapped(rows, func(k meta.Trust) *pb.Trust { return trustMessage(req.GetParent(), k) }),
		NextPageToken: next,
	}, err
}

// DeleteTrust removes a trust, with the tokens that were issued by it.
func (s *Service) DeleteTrust(ctx context.Context, req *pb.DeleteTrustRequest) (*emptypb.Empty, error) {
	a, k, err := s.findTrust(ctx, req.GetName())
	if err != nil {
		return deleted(err, req)
	}
	by := caused(ctx, trustMessage(parentOf(req.GetName(), k), k), &pb.Trust{})
	by.ValidateOnly = req.GetValidateOnly()
	return deleted(s.store.DeleteTrust(ctx, by, a.Tenant, a.Slug, k.Name), req)
}

// findTrust finds by resource name.
func (s *Service) findTrust(ctx context.Context, name string) (meta.Account, meta.Trust, error) {
	ids, err := splitName("name", name, "tenants", "serviceAccounts", trustsCollection)
	if err != nil {
		return meta.Account{}, meta.Trust{}, err
	}
	_, a, err := s.accounts().find(ctx, "name", "tenants/"+ids[0]+"/serviceAccounts/"+ids[1])
	if err != nil {
		return meta.Account{}, meta.Trust{}, err
	}
	all, err := s.store.ListTrusts(ctx, a.Tenant, a.Slug)
	if err != nil {
		return meta.Account{}, meta.Trust{}, err
	}
	i := slices.IndexFunc(all, func(k meta.Trust) bool { return k.Name == ids[2] })
	if i < 0 {
		return meta.Account{}, meta.Trust{}, fault.New(fault.NotFound, fault.ResourceUnknown, "trust not found")
	}
	return a, all[i], nil
}

// parentOf is the account in the resource name of a trust.
func parentOf(name string, k meta.Trust) string {
	return strings.TrimSuffix(name, "/"+trustsCollection+"/"+k.Name)
}

// trustOf takes over what a client may set, checked as far as it can be by itself.
func trustOf(m *pb.Trust) (meta.Trust, error) {
	if err := workload.CheckIssuer(m.GetIssuer()); err != nil {
		return meta.Trust{}, fault.From(err).WithField(fieldIssuer)
	}
	if n := len(m.GetAudiences()); n > maxAudiences {
		return meta.Trust{}, invalid(fieldAudiences, "%d audiences exceed the maximum of %d", n, maxAudiences)
	}
	for i, audience := range m.GetAudiences() {
		field := fmt.Sprintf("%s[%d]", fieldAudiences, i)
		switch {
		case audience == "" || len(audience) > longestAudience:
			return meta.Trust{}, invalid(field, "an audience has from 1 to %d bytes", longestAudience)
		case slices.Contains(m.GetAudiences()[:i], audience):
			return meta.Trust{}, invalid(field, "%q is there twice", clipped(audience))
		}
	}
	if err := workload.Check(m.GetIssuer(), m.GetCondition()); err != nil {
		return meta.Trust{}, fault.From(err).WithField("trust.condition")
	}
	if err := checkDisplayName("trust.description", m.GetDescription()); err != nil {
		return meta.Trust{}, err
	}
	k := meta.Trust{Issuer: m.GetIssuer(), Audiences: m.GetAudiences(), Condition: m.GetCondition(), Note: m.GetDescription()}
	if ttl := m.GetTtl(); ttl != nil {
		d := ttl.AsDuration()
		if ttl.CheckValid() != nil || d < minTTL || d > maxTTL {
			return meta.Trust{}, invalid("trust.ttl", "the lifetime of a trust is between 1 second and 100 years")
		}
		k.ExpiresAt = time.Now().Add(d)
	}
	return k, nil
}

// checkIssuerAddress refuses an issuer that leads to where upstreams must not lead.
func (s *Service) checkIssuerAddress(ctx context.Context, tenantSlug, issuer string) error {
	return issuerAddress(ctx, s.chains.CheckAddress, tenantSlug, issuer)
}

func issuerAddress(ctx context.Context, check func(ctx context.Context, tenantSlug, proxy, url string) error, tenantSlug, issuer string) error {
	err := check(ctx, tenantSlug, "", originOf(issuer))
	if fault.KindOf(err) == fault.Invalid && err != nil {
		return fault.From(err).WithField(fieldIssuer)
	}
	return err
}

// originOf is the URL without its path.
func originOf(issuer string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(issuer, "https://"), "/")
	return "https://" + host
}

func trustMessage(parent string, k meta.Trust) *pb.Trust {
	m := &pb.Trust{
		Name: parent + "/" + trustsCollection + "/" + k.Name, Issuer: k.Issuer, Audiences: k.Audiences, Condition: k.Condition, Description: k.Note,
		ExpireTime: timeOrNone(k.ExpiresAt), LastUsedTime: timeOrNone(k.UsedAt), LastUsedAddress: k.UsedFrom,
	}
	if !k.CreatedAt.IsZero() { // else it was only validated
		m.CreateTime = timestamppb.New(k.CreatedAt)
	}
	return m
}
