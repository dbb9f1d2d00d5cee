package admin

import (
	"context"
	"errors"
	"fmt"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// seedReference is a value of a seed file that names another resource of its tenant.
type seedReference struct{ path, kind, id string }

// What a seedReference may name.
const (
	kindRegistry = "registry"
	kindUpstream = "upstream"
	kindGroup    = "upstream group"
)

// elsewhere are the references to what the file does not have: the tenant may have
// it already.
func (t seedTenant) elsewhere() []seedReference {
	here := map[[2]string]bool{{kindRegistry, tenant.MainRegistry}: true}
	for _, r := range t.Registries {
		here[[2]string{kindRegistry, r.ID}] = true
	}
	for _, u := range t.Upstreams {
		here[[2]string{kindUpstream, u.ID}] = true
	}
	for _, g := range t.UpstreamGroups {
		here[[2]string{kindGroup, g.ID}] = true
	}
	var out []seedReference
	for _, r := range t.references() {
		if r.id != "" && !here[[2]string{r.kind, r.id}] {
			out = append(out, r)
		}
	}
	return out
}

// references are all of them; a resource that cannot be read has none.
func (t seedTenant) references() []seedReference {
	var out []seedReference
	for i, r := range t.Registries {
		m := &pb.Registry{}
		_, _ = r.Fields.decode(m, registryFields)
		out = append(out, seedReference{fmt.Sprintf("registries[%d].upstream_group", i), kindGroup, m.GetUpstreamGroup()})
		for j, id := range m.GetMirrorUpstreams() {
			out = append(out, seedReference{fmt.Sprintf("registries[%d].mirror_upstreams[%d]", i, j), kindUpstream, id})
		}
	}
	for i, g := range t.UpstreamGroups {
		m := &pb.UpstreamGroup{}
		_, _ = g.Fields.decode(m, groupFields)
		for j, member := range m.GetMembers() {
			at := fmt.Sprintf("upstream_groups[%d].members[%d].", i, j)
			out = append(out, seedReference{at + "registry", kindRegistry, member.GetRegistry()}, seedReference{at + "upstream", kindUpstream, member.GetUpstream()})
		}
	}
	for i, d := range t.Domains {
		m := &pb.Domain{}
		_, _ = d.Fields.decode(m, domainFields)
		out = append(out, seedReference{fmt.Sprintf("domains[%d].registry", i), kindRegistry, m.GetRegistry()})
	}
	return out
}

// withOthers adds to the error that a seed file was refused with what else is
// wrong with the file.
func (s *Service) withOthers(ctx context.Context, f *seedFile, first error) error {
	var refused *seedError
	if !errors.As(first, &refused) {
		return first
	}
	check := SeedCheck{Pattern: s.pattern, Secrets: s.secrets, CheckAddress: s.chains.CheckAddress}
	wrong := check.wrong(ctx, f)
	for i, t := range f.Tenants {
		for _, r := range s.dangling(ctx, t) {
			wrong = append(wrong, f.locate(within(fmt.Sprintf("tenants[%d].%s", i, r.path), invalid("", "there is no %s %q in this tenant", r.kind, clipped(r.id)))))
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
		_, isRegistry := there.Registries[r.id]
		_, isUpstream := there.Upstreams[r.id]
		_, isGroup := there.Groups[r.id]
		if !(r.kind == kindRegistry && isRegistry || r.kind == kindUpstream && isUpstream || r.kind == kindGroup && isGroup) {
			out = append(out, r)
		}
	}
	return out
}
