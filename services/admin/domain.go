package admin

import (
	"context"
	"crypto/rand"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// CreateDomain adds a host name. What the operator adds leads to its registry
// at once; what a tenant adds does so once verified.
func (s *Service) CreateDomain(ctx context.Context, req *pb.CreateDomainRequest) (*pb.Domain, error) {
	byOperator := callerOf(ctx).operator
	host, err := s.checkHost(req.GetDomainId(), byOperator)
	if err != nil {
		return nil, err
	}
	t, err := s.findTenant(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	r, err := s.domainRegistry(ctx, t, req.GetDomain().GetRegistry())
	if err != nil {
		return nil, err
	}
	d := meta.Domain{Tenant: t.ID, Registry: r.Slug, Host: host, Verified: byOperator}
	if !byOperator {
		d.Challenge = "berth-verification=" + rand.Text()
	}
	if req.GetValidateOnly() {
		if err := absent(s.store.FindDomain(ctx, t.ID, host)); err != nil {
			return nil, err
		}
		if err := room(s.limits.DomainLimit(), func(p meta.Page) ([]meta.Domain, error) { return s.store.ListDomains(ctx, t.ID, p) }); err != nil {
			return nil, err
		}
		return domainMessage(t, d), nil
	}
	d, err = s.store.CreateDomain(ctx, cause(ctx), d)
	if err != nil {
		return nil, err
	}
	return domainMessage(t, d), nil
}

// GetDomain answers one domain.
func (s *Service) GetDomain(ctx context.Context, req *pb.GetDomainRequest) (*pb.Domain, error) {
	t, d, err := s.findDomain(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	return domainMessage(t, d), nil
}

// ListDomains pages by host.
func (s *Service) ListDomains(ctx context.Context, req *pb.ListDomainsRequest) (*pb.ListDomainsResponse, error) {
	t, err := s.findTenant(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	rows, next, err := listPage(s, "domains", req.GetParent(), req,
		func(p meta.Page) ([]meta.Domain, error) { return s.store.ListDomains(ctx, t.ID, p) },
		func(d meta.Domain) string { return d.Host })
	if err != nil {
		return nil, err
	}
	return &pb.ListDomainsResponse{
		Domains:       mapped(rows, func(d meta.Domain) *pb.Domain { return domainMessage(t, d) }),
		NextPageToken: next,
	}, nil
}

// domainFields are the fields that UpdateDomain changes.
var domainFields = []string{"registry"}

// UpdateDomain changes which registry a host name leads to.
func (s *Service) UpdateDomain(ctx context.Context, req *pb.UpdateDomainRequest) (*pb.Domain, error) {
	t, d, err := s.findDomain(ctx, "domain.name", req.GetDomain().GetName())
	if fault.Is(err, fault.ResourceUnknown) && req.GetAllowMissing() {
		ids, err := splitName("domain.name", req.GetDomain().GetName(), "tenants", "domains")
		if err != nil {
			return nil, err
		}
		return s.CreateDomain(ctx, &pb.CreateDomainRequest{
			Parent: "tenants/" + ids[0], DomainId: ids[1], Domain: req.GetDomain(), ValidateOnly: req.GetValidateOnly(),
		})
	}
	if err != nil {
		return nil, err
	}
	if err := checkEtag(req.GetDomain().GetEtag(), d.Version); err != nil {
		return nil, err
	}
	before := domainMessage(t, d)
	after := proto.CloneOf(before)
	if err := merge(after, req.GetDomain(), req.GetUpdateMask(), domainFields); err != nil {
		return nil, err
	}
	if _, err := s.domainRegistry(ctx, t, after.GetRegistry()); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() || proto.Equal(before, after) {
		return after, nil
	}
	d.Registry = after.GetRegistry()
	d, err = s.store.UpdateDomain(ctx, caused(ctx, before, after), d)
	if err != nil {
		return nil, err
	}
	return domainMessage(t, d), nil
}

// DeleteDomain removes a host name; requests to it are refused from then on.
func (s *Service) DeleteDomain(ctx context.Context, req *pb.DeleteDomainRequest) (*emptypb.Empty, error) {
	t, d, err := s.findDomain(ctx, "name", req.GetName())
	if err != nil || req.GetValidateOnly() {
		return deleted(err, req)
	}
	return deleted(s.store.DeleteDomain(ctx, cause(ctx), t.ID, d.Host), req)
}

// VerifyDomain looks for the record that CreateDomain asked for. The operator
// needs to prove nothing. A domain that is verified stays so.
func (s *Service) VerifyDomain(ctx context.Context, req *pb.VerifyDomainRequest) (*pb.Domain, error) {
	t, d, err := s.findDomain(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if d.Verified {
		return domainMessage(t, d), nil
	}
	if !callerOf(ctx).operator {
		if err := s.checkRecord(ctx, d); err != nil {
			return nil, err
		}
	}
	if req.GetValidateOnly() {
		d.Verified = true
		return domainMessage(t, d), nil
	}
	d, err = s.store.VerifyDomain(ctx, cause(ctx), t.ID, d.Host)
	if err != nil {
		return nil, err
	}
	return domainMessage(t, d), nil
}

// checkHost normalises the host name of a new domain. Names that the pattern
// gives are nobody's to add, and a tenant may add none under the base domain.
func (s *Service) checkHost(id string, byOperator bool) (string, error) {
	if id == "" {
		return "", missing("domain_id")
	}
	host, err := tenant.NormalizeHost(id)
	if err != nil || !strings.EqualFold(host, strings.TrimSuffix(id, ".")) {
		return "", invalid("domain_id", "%q is not a host name without port, in ASCII form, such as registry.acme.example", clipped(id))
	}
	if _, _, ok := s.pattern.Parse(host); ok || !byOperator && s.pattern.Contains(host) {
		return "", invalid("domain_id", "%q belongs to the base domain, whose names are given by tenant and registry", host)
	}
	return host, nil
}

// domainRegistry finds the registry that a domain shall lead to.
func (s *Service) domainRegistry(ctx context.Context, t meta.Tenant, slug string) (meta.Registry, error) {
	r, err := s.store.FindRegistry(ctx, t.ID, slug)
	if fault.Is(err, fault.ResourceUnknown) {
		return r, invalid("domain.registry", "tenant %q has no registry %q", t.Slug, slug)
	}
	return r, err
}

// findDomain finds by resource name; field is where the request carries it.
func (s *Service) findDomain(ctx context.Context, field, name string) (meta.Tenant, meta.Domain, error) {
	ids, err := splitName(field, name, "tenants", "domains")
	if err != nil {
		return meta.Tenant{}, meta.Domain{}, err
	}
	t, err := s.tenantBySlug(ctx, ids[0])
	if err != nil {
		return meta.Tenant{}, meta.Domain{}, err
	}
	d, err := s.store.FindDomain(ctx, t.ID, ids[1])
	return t, d, err
}

// verifiedDomains are the tenant's, as far as one page goes: a registry's list
// of hosts is a convenience, ListDomains has them all.
func (s *Service) verifiedDomains(ctx context.Context, t meta.Tenant) ([]meta.Domain, error) {
	all, err := s.store.ListDomains(ctx, t.ID, meta.Page{Size: largestPage})
	if err != nil {
		return nil, err
	}
	verified := all[:0]
	for _, d := range all {
		if d.Verified {
			verified = append(verified, d)
		}
	}
	return verified, nil
}

func domainMessage(t meta.Tenant, d meta.Domain) *pb.Domain {
	m := &pb.Domain{
		Name:     "tenants/" + t.Slug + "/domains/" + d.Host,
		Registry: d.Registry,
		Verified: d.Verified,
	}
	if !d.CreatedAt.IsZero() { // else it was only validated
		m.CreateTime = timestamppb.New(d.CreatedAt)
		m.Etag = etag(d.Version)
	}
	if !d.Verified && !d.CreatedAt.IsZero() && d.Challenge != "" {
		m.TxtName, m.TxtValue = recordName(d.Host), d.Challenge
	}
	return m
}
