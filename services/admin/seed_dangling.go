package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// withOthers adds to the error that a seed file was refused with what else is
// wrong with the file.
func (s *Service) withOthers(ctx context.Context, f *seedFile, first error) error {
	var refused *seedError
	if !errors.As(first, &refused) {
		return first
	}
	check := SeedCheck{Pattern: s.pattern, Secrets: s.secrets, CheckAddress: s.chains.CheckAddress, CheckHelper: s.chains.CheckHelper}
	wrong := check.wrong(ctx, f)
	for i, t := range f.Tenants {
		for _, r := range s.dangling(ctx, t) {
			wrong = append(wrong, f.locate(within(fmt.Sprintf("tenants[%d].%s", i, r.path), invalid("", "%s %q not found in this tenant", r.kind, clipped(r.id)))))
		}
	}
	all := []error{first}
	for _, err := range wrong {
		var other *seedError
		if errors.As(err, &other) && other.path != refused.path {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// dangling are the references to what neither the file nor the tenant has; none
// where the store does not answer.
func (s *Service) dangling(ctx context.Context, t seedTenant) []seedReference {
	var there meta.Topology
	found, err := s.tenantBySlug(ctx, t.ID)
	if err == nil {
		there, err = s.store.FindTopology(ctx, found.ID)
	}
	if err != nil && !fault.Is(err, fault.ResourceUnknown) {
		return nil
	}
	var out []seedReference
	for _, r := range t.elsewhere() {
		var has bool
		switch r.kind {
		case kindRegistry:
			_, has = there.Registries[r.id]
		case kindUpstream:
			_, has = there.Upstreams[r.id]
		case kindGroup:
			_, has = there.Groups[r.id]
		case kindAccount:
			_, err := s.store.FindAccount(ctx, found.ID, access.ServiceKind, r.id)
			has = !fault.Is(err, fault.ResourceUnknown)
		case kindUser:
			_, err := s.store.FindAccount(ctx, found.ID, access.UserKind, r.id)
			has = !fault.Is(err, fault.ResourceUnknown)
		case kindPrincipalGroup:
			_, err := s.store.FindPrincipalGroup(ctx, found.ID, r.id)
			has = !fault.Is(err, fault.ResourceUnknown)
		case kindProvider:
			_, err := s.store.FindIdentityProvider(ctx, found.ID, r.id)
			has = !fault.Is(err, fault.ResourceUnknown)
		case kindRule:
			_, err := s.store.FindAccessRule(ctx, found.ID, r.id)
			has = !fault.Is(err, fault.ResourceUnknown)
		}
		if !has {
			out = append(out, r)
		}
	}
	return out
}
