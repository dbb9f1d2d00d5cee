package admin

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

// seedProvider is an identity provider of a seed file, whose password is in a file beside it:
// ldap.bind_password_file.
type seedProvider struct {
	ID     string     `yaml:"id"`
	Fields seedFields `yaml:",inline"`
}

// read is the message of the provider, with its password, and which fields are given.
func (p seedProvider) read(dir string) (*pb.IdentityProvider, *fieldmaskpb.FieldMask, error) {
	fields, err := p.Fields.withSecretsOfParts(dir)
	if err != nil {
		return nil, nil, err
	}
	return decoded[*pb.IdentityProvider](fields)
}

// providers checks those of a tenant, or of the operator where there is no tenant.
func (k *seedChecker) providers(at, tenantSlug string, all []seedProvider) {
	k.ids(at, mapped(all, func(p seedProvider) string { return p.ID }))
	for i, p := range all {
		k.note(fmt.Sprintf("%s[%d]", at, i), k.provider(tenantSlug, p))
	}
}

func (k *seedChecker) provider(tenantSlug string, p seedProvider) error {
	m, _, err := p.read(k.dir)
	if err != nil || !p.Fields.has("ldap") && !p.Fields.has("oidc") { // which the provider has already
		return err
	}
	row := meta.IdentityProvider{Slug: p.ID}
	if err := k.service.configureProvider(&row, m); err != nil || tenantSlug == "" {
		return err
	}
	if row.Settings.OIDC != nil {
		return checkProviderIssuer(k.ctx, k.CheckAddress, tenantSlug, *row.Settings.OIDC)
	}
	return checkServers(k.ctx, k.CheckAddress, tenantSlug, *row.Settings.LDAP)
}

// applyProviders applies the operator's, after the tenants that they are offered to, but before
// the groups of these, which name them.
func (s *Service) applyProviders(ctx context.Context, f seed, dir string) error {
	if len(f.Providers) == 0 {
		return nil
	}
	if err := each("tenants", f.Tenants, func(t seedTenant) error { return s.applyTenantAlone(ctx, t) }); err != nil {
		return err
	}
	return each("identity_providers", f.Providers, func(p seedProvider) error { return s.applyProvider(ctx, "", p, dir) })
}

// applyProvider applies one whose name begins with the parent, which is empty for the operator's.
func (s *Service) applyProvider(ctx context.Context, parent string, p seedProvider, dir string) error {
	m, mask, err := p.read(dir)
	if err != nil {
		return err
	}
	return apply(ctx, parent+providersCollection+"/", p.ID, m, mask, s.updateIdentityProvider)
}
