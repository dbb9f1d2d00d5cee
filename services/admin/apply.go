package admin

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Apply makes what the YAML file names as the operator, and changes what is
// there already but differs; a tenant or registry that was deleted and can be
// taken back is. Applying a file again changes nothing. It stops at the first
// error, and tells what else is wrong with the file; each names the file, the line
// and the value.
func (s *Service) Apply(ctx context.Context, file string) error {
	f, err := readSeed(file)
	if err != nil {
		return err
	}
	ctx = withCaller(ctx, caller{operator: true})
	for i, t := range f.Tenants {
		if err := s.applyWithRetry(ctx, t, filepath.Dir(file)); err != nil {
			return s.withOthers(ctx, f, f.locate(within(fmt.Sprintf("tenants[%d]", i), err)))
		}
	}
	return nil
}

// maxApplied is how often a tenant is applied again because of others.
const maxApplied = 20

// applyWithRetry goes over a tenant again where another request made or changed
// a resource at the same moment: the nodes of a cluster start together.
func (s *Service) applyWithRetry(ctx context.Context, t seedTenant, dir string) error {
	for applied := 1; ; applied++ {
		err := s.applyTenant(ctx, t, dir)
		if err == nil || applied == maxApplied || fault.KindOf(err) != fault.Conflict {
			return err
		}
	}
}

func (s *Service) applyTenant(ctx context.Context, t seedTenant, dir string) error {
	if err := checkSeedID(t.ID); err != nil {
		return err
	}
	name := "tenants/" + t.ID
	m := &pb.Tenant{}
	mask, err := t.Fields.decode(m, tenantFields)
	if err == nil {
		err = s.bringBackTenant(ctx, t.ID)
	}
	if err == nil {
		m.Name = name
		_, err = s.UpdateTenant(ctx, &pb.UpdateTenantRequest{Tenant: m, UpdateMask: mask, AllowMissing: true})
	}
	if err != nil {
		return err
	}
	if err := s.applyChains(ctx, name, t, dir); err != nil {
		return err
	}
	for i, d := range t.Domains {
		if err := s.applyDomain(ctx, name, d); err != nil {
			return within(fmt.Sprintf("domains[%d]", i), err)
		}
	}
	for i, a := range t.ServiceAccounts {
		if err := s.applyAccount(ctx, name, a, dir); err != nil {
			return within(fmt.Sprintf("service_accounts[%d]", i), err)
		}
	}
	return nil
}

// applyChains applies what names each other: registries without their groups,
// what the groups are made of, and then all of the registries. A registry that
// shall have no group any more loses it first: a group may name it now.
func (s *Service) applyChains(ctx context.Context, name string, t seedTenant, dir string) error {
	for i, r := range t.Registries {
		if r.Fields["upstream_group"] != "" {
			r = r.without("upstream_group")
		}
		r = r.without("mirror_upstreams")
		if err := s.applyRegistry(ctx, name, r); err != nil {
			return within(fmt.Sprintf("registries[%d]", i), err)
		}
	}
	for i, u := range t.Upstreams {
		if err := s.applyUpstream(ctx, name, u, dir); err != nil {
			return within(fmt.Sprintf("upstreams[%d]", i), err)
		}
	}
	for i, g := range t.UpstreamGroups {
		if err := s.applyGroup(ctx, name, g); err != nil {
			return within(fmt.Sprintf("upstream_groups[%d]", i), err)
		}
	}
	for i, r := range t.Registries {
		if err := s.applyRegistry(ctx, name, r); err != nil {
			return within(fmt.Sprintf("registries[%d]", i), err)
		}
	}
	return nil
}

// bringBackTenant undeletes a tenant that the file names. The file says what there
// shall be, and makes again what else was deleted.
func (s *Service) bringBackTenant(ctx context.Context, slug string) error {
	t, err := s.store.FindHolder(ctx, slug)
	if fault.Is(err, fault.ResourceUnknown) || err == nil && !t.ExpireAt.After(time.Now()) {
		return nil
	}
	if err == nil {
		_, err = s.UndeleteTenant(ctx, &pb.UndeleteTenantRequest{Name: "tenants/" + slug})
	}
	return err
}

func (s *Service) bringBackRegistry(ctx context.Context, name string) error {
	_, r, err := s.registries().withDeleted().find(ctx, "name", name)
	if fault.Is(err, fault.ResourceUnknown) || err == nil && r.State == tenant.Active {
		return nil
	}
	if err == nil {
		_, err = s.UndeleteRegistry(ctx, &pb.UndeleteRegistryRequest{Name: name})
	}
	return err
}

func (s *Service) applyUpstream(ctx context.Context, parent string, u seedUpstream, dir string) error {
	m, mask, err := u.read(dir)
	if err != nil {
		return err
	}
	if err := checkSeedID(u.ID); err != nil {
		return err
	}
	m.Name = parent + "/upstreams/" + u.ID
	_, err = s.UpdateUpstream(ctx, &pb.UpdateUpstreamRequest{Upstream: m, UpdateMask: mask, AllowMissing: true})
	return err
}

func (s *Service) applyGroup(ctx context.Context, parent string, g seedResource) error {
	m := &pb.UpstreamGroup{}
	mask, err := g.Fields.decode(m, groupFields)
	if err != nil {
		return err
	}
	if err := checkSeedID(g.ID); err != nil {
		return err
	}
	m.Name = parent + "/upstreamGroups/" + g.ID
	_, err = s.UpdateUpstreamGroup(ctx, &pb.UpdateUpstreamGroupRequest{UpstreamGroup: m, UpdateMask: mask, AllowMissing: true})
	return err
}

func (s *Service) applyRegistry(ctx context.Context, parent string, r seedResource) error {
	m := &pb.Registry{}
	mask, err := r.Fields.decode(m, registryFields)
	if err != nil {
		return err
	}
	if err := checkSeedID(r.ID); err != nil {
		return err
	}
	m.Name = parent + "/registries/" + r.ID
	if err := s.bringBackRegistry(ctx, m.GetName()); err != nil {
		return err
	}
	_, err = s.UpdateRegistry(ctx, &pb.UpdateRegistryRequest{Registry: m, UpdateMask: mask, AllowMissing: true})
	return err
}

// applyDomain makes a domain, leads it to the registry, and verifies it.
func (s *Service) applyDomain(ctx context.Context, parent string, d seedResource) error {
	m := &pb.Domain{}
	if _, err := d.Fields.decode(m, []string{"registry"}); err != nil {
		return err
	}
	host, err := s.checkHost(d.ID, true)
	if err != nil {
		return err
	}
	name := parent + "/domains/" + host
	there, err := s.GetDomain(ctx, &pb.GetDomainRequest{Name: name})
	switch {
	case fault.Is(err, fault.ResourceUnknown):
		_, err = s.CreateDomain(ctx, &pb.CreateDomainRequest{Parent: parent, DomainId: host, Domain: m})
		return err
	case err != nil:
		return err
	}
	if there.GetRegistry() != m.GetRegistry() {
		m.Name = name
		if _, err := s.UpdateDomain(ctx, &pb.UpdateDomainRequest{Domain: m}); err != nil {
			return err
		}
	}
	_, err = s.VerifyDomain(ctx, &pb.VerifyDomainRequest{Name: name})
	return err
}

func (s *Service) applyAccount(ctx context.Context, parent string, a seedAccount, dir string) error {
	m := &pb.ServiceAccount{}
	mask, err := a.Fields.decode(m, accountFields)
	if err != nil {
		return err
	}
	if err := checkSeedID(a.ID); err != nil {
		return err
	}
	m.Name = parent + "/serviceAccounts/" + a.ID
	if _, err := s.UpdateServiceAccount(ctx, &pb.UpdateServiceAccountRequest{ServiceAccount: m, UpdateMask: mask, AllowMissing: true}); err != nil {
		return err
	}
	for i, k := range a.Keys {
		if err := s.applyKey(ctx, m.GetName(), k, dir); err != nil {
			return within(fmt.Sprintf("keys[%d]", i), err)
		}
	}
	return nil
}

// applyKey makes the key, or makes it again where its secret is another.
func (s *Service) applyKey(ctx context.Context, account string, k seedKey, dir string) error {
	if err := checkSeedID(k.ID); err != nil {
		return err
	}
	hash, err := k.hash(dir)
	if err != nil {
		return err
	}
	t, a, err := s.accounts().find(ctx, "name", account)
	if err != nil {
		return err
	}
	keys, err := s.store.ListAccountKeys(ctx, t.ID, a.Slug)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(keys, func(there meta.AccountKey) bool { return there.Name == k.ID }); i >= 0 {
		if keys[i].Hash == hash {
			return nil
		}
		if err := s.store.DeleteAccountKey(ctx, cause(ctx), t.ID, a.Slug, k.ID); err != nil {
			return err
		}
	}
	_, err = s.store.CreateAccountKey(ctx, cause(ctx), t.ID, a.Slug, meta.AccountKey{Name: k.ID, Hash: hash})
	return err
}
