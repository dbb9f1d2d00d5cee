package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/people"
)

// Limits of the groups of identity providers that a group names.
const (
	maxIdentityGroups   = 100
	maxIdentityGroup    = 1024 // bytes of a name
	fieldIdentityGroups = "group.identity_groups"
)

// providersOf are the identity providers that groups of a tenant may name, by name: its own, and
// those of the operator.
func (s *Service) providersOf(ctx context.Context, t meta.Tenant) (map[string]meta.IdentityProvider, error) {
	found := map[string]meta.IdentityProvider{}
	for _, owner := range []tenant.ID{t.ID, meta.Deployment} {
		rows, err := s.store.ListIdentityProviders(ctx, owner, meta.Page{Size: largestPage})
		if err != nil {
			return nil, err
		}
		for _, p := range rows {
			found[providerName(t, p)] = p
		}
	}
	return found, nil
}

// groupIdentities finds the providers of groups that checkIdentityGroups has checked. One of the
// operator's that is not offered to the tenant, and one that is missing, get the same answer.
func (s *Service) groupIdentities(ctx context.Context, t meta.Tenant, given []*pb.Group_IdentityGroup) ([]meta.GroupIdentity, error) {
	if len(given) == 0 {
		return nil, nil
	}
	providers, err := s.providersOf(ctx, t)
	if err != nil {
		return nil, err
	}
	var found []meta.GroupIdentity
	for i, g := range given {
		p, ok := providers[g.GetProvider()]
		if !ok || !p.OfferedTo(t.ID) {
			return nil, invalid(fmt.Sprintf("%s[%d].provider", fieldIdentityGroups, i), "identity provider %q not found; it is tenants/%s/identityProviders/{identity_provider}, or identityProviders/{identity_provider} of the operator's", clipped(g.GetProvider()), t.Slug)
		}
		found = append(found, meta.GroupIdentity{Provider: p.ID, Group: people.GroupNames(p.Kind, []string{g.GetGroup()})[0]})
	}
	slices.SortFunc(found, meta.GroupIdentity.Compare)
	return slices.Compact(found), nil
}

// checkIdentityGroups checks them as far as it can be done without a store.
func checkIdentityGroups(given []*pb.Group_IdentityGroup) error {
	if n := len(given); n > maxIdentityGroups {
		return invalid(fieldIdentityGroups, "%d groups exceed the maximum of %d", n, maxIdentityGroups)
	}
	for i, g := range given {
		field := fmt.Sprintf("%s[%d]", fieldIdentityGroups, i)
		if !strings.HasPrefix(g.GetProvider(), "tenants/") && !strings.HasPrefix(g.GetProvider(), providersCollection+"/") {
			return invalid(field+".provider", "%q is not the name of an identity provider, such as tenants/acme/identityProviders/corp", clipped(g.GetProvider()))
		}
		if name := g.GetGroup(); name == "" || len(name) > maxIdentityGroup || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return invalid(field+".group", "the name of a group has from 1 to %d bytes, and no control characters", maxIdentityGroup)
		}
	}
	return nil
}
