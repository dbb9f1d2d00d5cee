package admin

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const providersCollection = "identityProviders"

// identityProviders are those of tenants, or of the operator where at, a name of one or of what
// they belong to, is of no tenant.
func (s *Service) identityProviders(at string) collection[meta.IdentityProvider, *pb.IdentityProvider] {
	c := collection[meta.IdentityProvider, *pb.IdentityProvider]{
		service: s, name: providersCollection, noun: "identity_provider", ofDeployment: !strings.HasPrefix(at, "tenants/"), // UpdateIdentityProvider does without updateRow
		new: func(_ context.Context, t meta.Tenant, slug string) meta.IdentityProvider {
			return meta.IdentityProvider{Tenant: t.ID, Slug: slug}
		},
		key: func(p meta.IdentityProvider) (string, int64) { return p.Slug, p.Version },
		set: s.setIdentityProvider, show: s.showIdentityProvider,
		limit: s.limits.IdentityProviderLimit(), findRow: s.store.FindIdentityProvider, listRows: s.store.ListIdentityProviders,
		createRow: s.store.CreateIdentityProvider, deleteRow: s.store.DeleteIdentityProvider,
	}
	if c.ofDeployment {
		c.limit = noLimit
	}
	return c
}

// CreateIdentityProvider makes a provider. It is not asked for anything.
func (s *Service) CreateIdentityProvider(ctx context.Context, req *pb.CreateIdentityProviderRequest) (*pb.IdentityProvider, error) {
	return s.identityProviders(req.GetParent()).create(ctx, req.GetParent(), req.GetIdentityProviderId(), req.GetIdentityProvider(), req.GetValidateOnly())
}

// GetIdentityProvider returns one provider, without its password.
func (s *Service) GetIdentityProvider(ctx context.Context, req *pb.GetIdentityProviderRequest) (*pb.IdentityProvider, error) {
	return s.identityProviders(req.GetName()).get(ctx, req.GetName())
}

// ListIdentityProviders pages by slug.
func (s *Service) ListIdentityProviders(ctx context.Context, req *pb.ListIdentityProvidersRequest) (*pb.ListIdentityProvidersResponse, error) {
	rows, next, err := s.identityProviders(req.GetParent()).list(ctx, req)
	return &pb.ListIdentityProvidersResponse{IdentityProviders: rows, NextPageToken: next}, err
}

// ListOfferedIdentityProviders pages by slug.
func (s *Service) ListOfferedIdentityProviders(ctx context.Context, req *pb.ListOfferedIdentityProvidersRequest) (*pb.ListIdentityProvidersResponse, error) {
	t, err := s.findTenant(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	var offered []meta.IdentityProvider
	for page := (meta.Page{Size: largestPage}); ; {
		found, err := s.store.ListIdentityProviders(ctx, meta.Deployment, page)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			if p.OfferedTo(t.ID) {
				offered = append(offered, p)
			}
		}
		if len(found) < page.Size {
			break
		}
		page.After = found[len(found)-1].Slug
	}
	rows, next, err := pageOfAll(s, "offered identity providers", req.GetParent(), req, offered, func(p meta.IdentityProvider) string { return p.Slug })
	return &pb.ListIdentityProvidersResponse{NextPageToken: next, IdentityProviders: mapped(rows, func(p meta.IdentityProvider) *pb.IdentityProvider {
		return &pb.IdentityProvider{Name: providerName(meta.Tenant{}, p), DisplayName: p.DisplayName, Kind: kindOf(p), Disabled: p.Disabled}
	})}, err
}

// UpdateIdentityProvider changes a provider.
func (s *Service) UpdateIdentityProvider(ctx context.Context, req *pb.UpdateIdentityProviderRequest) (*pb.IdentityProvider, error) {
	return s.updateIdentityProvider(ctx, req, req.GetIdentityProvider())
}

// updateIdentityProvider is not collection.update, for a password is never shown: what an update
// does not name stays.
func (s *Service) updateIdentityProvider(ctx context.Context, req updateRequest, m *pb.IdentityProvider) (*pb.IdentityProvider, error) {
	c := s.identityProviders(m.GetName())
	t, p, err := c.find(ctx, "identity_provider.name", m.GetName())
	if fault.Is(err, fault.ResourceUnknown) && req.GetAllowMissing() {
		return c.createNamed(ctx, m, req.GetValidateOnly())
	}
	if err != nil {
		return nil, err
	}
	if err := checkEtag(m.GetEtag(), p.Version); err != nil {
		return nil, err
	}
	show, err := s.showIdentityProvider(ctx, t)
	if err != nil {
		return nil, err
	}
	before := show(p)
	if len(p.Secret) > 0 {
		setSecret(before, unchangedSecret)
	}
	after := proto.CloneOf(before)
	if err := merge("identity_provider", after, m, req.GetUpdateMask()); err != nil {
		return nil, err
	}
	was := p
	if err := s.setIdentityProvider(ctx, t, &p, after); err != nil {
		return nil, err
	}
	given := givenSecret(after)
	if req.GetValidateOnly() || (given == "" || given == unchangedSecret) && proto.Equal(show(was), show(p)) {
		return show(p), nil
	}
	if given == "" && len(p.Secret) > 0 {
		setSecret(after, unchangedSecret)
	}
	if p, err = s.store.UpdateIdentityProvider(ctx, caused(ctx, before, after), p); err != nil {
		return nil, err
	}
	return show(p), nil
}

// DeleteIdentityProvider removes a provider that no group names.
func (s *Service) DeleteIdentityProvider(ctx context.Context, req *pb.DeleteIdentityProviderRequest) (*emptypb.Empty, error) {
	return s.identityProviders(req.GetName()).delete(ctx, req, req.GetEtag())
}

// showIdentityProvider finds out how the tenants are called that providers are offered to.
func (s *Service) showIdentityProvider(ctx context.Context, t meta.Tenant) (func(meta.IdentityProvider) *pb.IdentityProvider, error) {
	names := map[tenant.ID]string{}
	if t.ID == meta.Deployment {
		var err error
		if names, err = s.tenantNames(ctx); err != nil {
			return nil, err
		}
	}
	return func(p meta.IdentityProvider) *pb.IdentityProvider {
		m := &pb.IdentityProvider{
			Name: providerName(t, p), DisplayName: p.DisplayName, Kind: kindOf(p), Disabled: p.Disabled,
			Tenants:         mapped(p.Tenants, func(id tenant.ID) string { return names[id] }),
			RefreshInterval: durationpb.New(p.Settings.Refresh), DirectoryGrace: durationpb.New(p.Settings.Grace),
			Ldap: ldapMessage(p), Oidc: s.oidcMessage(p), Mappings: mappingMessages(p.Settings.Mappings),
		}
		if p.ID != 0 { // else it was only validated
			m.Etag = etag(p.Version)
			m.CreateTime, m.UpdateTime = timestamppb.New(p.CreatedAt), timestamppb.New(p.UpdatedAt)
		}
		return m
	}, nil
}

// tenantNames are the names of all tenants, with deleted ones, by ID.
func (s *Service) tenantNames(ctx context.Context) (map[tenant.ID]string, error) {
	names := map[tenant.ID]string{}
	for page := (meta.Page{Size: largestPage}); ; {
		found, err := s.store.ListHolders(ctx, page)
		if err != nil {
			return nil, err
		}
		for _, t := range found {
			if names[t.ID] = "tenants/" + t.Slug; t.State == tenant.Deleting || t.State == tenant.Deleted {
				names[t.ID] += " (deleted)"
			}
		}
		if len(found) < page.Size {
			return names, nil
		}
		page.After = meta.HolderKey(found[len(found)-1])
	}
}

// providerName is the resource name of a provider; t is its tenant.
func providerName(t meta.Tenant, p meta.IdentityProvider) string {
	if p.Tenant == meta.Deployment {
		return providersCollection + "/" + p.Slug
	}
	return "tenants/" + t.Slug + "/" + providersCollection + "/" + p.Slug
}

// givenSecret is the secret in a message of either kind.
func givenSecret(m *pb.IdentityProvider) string {
	if m.GetOidc() != nil {
		return m.GetOidc().GetClientSecret()
	}
	return m.GetLdap().GetBindPassword()
}

func setSecret(m *pb.IdentityProvider, secret string) {
	if m.GetOidc() != nil {
		m.Oidc.ClientSecret = secret
	} else {
		m.Ldap.BindPassword = secret
	}
}

func kindOf(p meta.IdentityProvider) pb.IdentityProvider_Kind {
	return pb.IdentityProvider_Kind(pb.IdentityProvider_Kind_value[p.Kind])
}
