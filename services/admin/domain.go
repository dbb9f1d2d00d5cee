package admin

import (
	"context"
	"crypto/rand"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func (s *Service) domains() collection[meta.Domain, *pb.Domain] {
	return collection[meta.Domain, *pb.Domain]{
		service: s, name: "domains", noun: "domain",
		id: func(ctx context.Context, host string) (string, error) {
			return s.checkHost(host, callerOf(ctx).operator)
		},
		new: newDomain,
		key: func(d meta.Domain) (string, int64) { return d.Host, d.Version },
		set: s.setDomain, show: shown(domainMessage),
		limit: s.limits.DomainLimit(), findRow: s.store.FindDomain, listRows: s.store.ListDomains,
		createRow: s.store.CreateDomain, updateRow: s.store.UpdateDomain,
		deleteRow: func(ctx context.Context, by meta.Cause, t tenant.ID, host string, _ int64) error {
			return s.store.DeleteDomain(ctx, by, t, host)
		},
	}
}

// CreateDomain adds a host name. What the operator adds leads to its registry
// at once; what a tenant adds does so once verified.
func (s *Service) CreateDomain(ctx context.Context, req *pb.CreateDomainRequest) (*pb.Domain, error) {
	return s.domains().create(ctx, req.GetParent(), req.GetDomainId(), req.GetDomain(), req.GetValidateOnly())
}

// GetDomain returns one domain.
func (s *Service) GetDomain(ctx context.Context, req *pb.GetDomainRequest) (*pb.Domain, error) {
	return s.domains().get(ctx, req.GetName())
}

// ListDomains pages by host.
func (s *Service) ListDomains(ctx context.Context, req *pb.ListDomainsRequest) (*pb.ListDomainsResponse, error) {
	rows, next, err := s.domains().list(ctx, req)
	return &pb.ListDomainsResponse{Domains: rows, NextPageToken: next}, err
}

// UpdateDomain changes which registry a host name leads to.
func (s *Service) UpdateDomain(ctx context.Context, req *pb.UpdateDomainRequest) (*pb.Domain, error) {
	return s.domains().update(ctx, req, req.GetDomain())
}

// DeleteDomain removes a host name; requests to it are refused from then on.
func (s *Service) DeleteDomain(ctx context.Context, req *pb.DeleteDomainRequest) (*emptypb.Empty, error) {
	return s.domains().delete(ctx, req, "")
}

// VerifyDomain looks for the record that CreateDomain asked for. The operator
// needs to prove nothing. A domain that is verified stays so.
func (s *Service) VerifyDomain(ctx context.Context, req *pb.VerifyDomainRequest) (*pb.Domain, error) {
	t, d, err := s.domains().find(ctx, "name", req.GetName())
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
	d, err = s.store.VerifyDomain(ctx, causedBy(ctx, "verified", "false", "true"), t.ID, d.Host)
	if err != nil {
		return nil, err
	}
	return domainMessage(t, d), nil
}

// checkHost normalises the host name of a new domain. Names that the pattern
// gives cannot be added, and a tenant may add none under the base domain.
func (s *Service) checkHost(id string, byOperator bool) (string, error) {
	if id == "" {
		return "", missing("domain_id")
	}
	host, err := tenant.NormalizeHost(id)
	if err != nil || !strings.EqualFold(host, strings.TrimSuffix(id, ".")) {
		return "", invalid("domain_id", "%q is not a host name without port, in ASCII form, such as registry.acme.example", clipped(id))
	}
	if tenant.HasMirrorLabel(host) {
		return "", invalid("domain_id", "the name has the form of a mirror host; mirrorHosts gives such names, and no domain has one")
	}
	if _, _, ok := s.pattern.Parse(host); ok || !byOperator && s.pattern.Contains(host) {
		return "", invalid("domain_id", "%q belongs to the base domain, whose names are given by tenant and registry", host)
	}
	return host, nil
}

// newDomain is a domain that is verified if the operator adds it.
func newDomain(ctx context.Context, t meta.Tenant, host string) meta.Domain {
	d := meta.Domain{Tenant: t.ID, Host: host, Verified: callerOf(ctx).operator}
	if !d.Verified {
		d.Challenge = "berth-verification=" + rand.Text()
	}
	return d
}

// setDomain leads the domain to a registry that exists.
func (s *Service) setDomain(ctx context.Context, t meta.Tenant, d *meta.Domain, m *pb.Domain) error {
	r, err := s.store.FindRegistry(ctx, t.ID, m.GetRegistry())
	if fault.Is(err, fault.ResourceUnknown) {
		return invalid("domain.registry", "tenant %q has no registry %q", t.Slug, m.GetRegistry())
	}
	d.Registry = r.Slug
	return err
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

// applyDomain makes a domain, leads it to the registry, and verifies it.
func (s *Service) applyDomain(ctx context.Context, parent string, d seedResource) error {
	m, mask, err := decoded[*pb.Domain](d.Fields)
	if err != nil {
		return err
	}
	host, err := s.checkHost(d.ID, true)
	if err != nil {
		return err
	}
	m.Name = parent + "/domains/" + host
	if _, err := s.domains().update(ctx, seedUpdate{mask}, m); err != nil {
		return err
	}
	_, err = s.VerifyDomain(ctx, &pb.VerifyDomainRequest{Name: m.GetName()})
	return err
}
