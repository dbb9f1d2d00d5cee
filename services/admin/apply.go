package admin

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

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
	err = each("tenants", f.Tenants, func(t seedTenant) error { return s.applyWithRetry(ctx, t, filepath.Dir(file)) })
	if err != nil {
		return s.withOthers(ctx, f, f.locate(err))
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
	m, mask, err := decoded[*pb.Tenant](t.Fields)
	if err == nil {
		err = apply(ctx, "tenants/", t.ID, m, mask, s.reviveTenant)
	}
	if err != nil {
		return err
	}
	name := m.GetName()
	if err := s.applyChains(ctx, name, t, dir); err != nil {
		return err
	}
	if err := each("domains", t.Domains, func(d seedResource) error { return s.applyDomain(ctx, name, d) }); err != nil {
		return err
	}
	return each("service_accounts", t.ServiceAccounts, func(a seedAccount) error { return s.applyAccount(ctx, name, a, dir) })
}

// applyChains applies what names each other: registries without their groups,
// what the groups are made of, and then all of the registries. A registry that
// shall have no group any more loses it first: a group may name it now.
func (s *Service) applyChains(ctx context.Context, name string, t seedTenant, dir string) error {
	if err := each("registries", t.Registries, func(r seedResource) error {
		if r.Fields["upstream_group"] != "" {
			r = r.without("upstream_group")
		}
		return s.applyRegistry(ctx, name, r.without("mirror_upstreams"))
	}); err != nil {
		return err
	}
	if err := each("upstreams", t.Upstreams, func(u seedUpstream) error {
		m, mask, err := u.read(dir)
		if err != nil {
			return err
		}
		return apply(ctx, name+"/upstreams/", u.ID, m, mask, s.updateUpstream)
	}); err != nil {
		return err
	}
	if err := each("upstream_groups", t.UpstreamGroups, func(g seedResource) error {
		m, mask, err := decoded[*pb.UpstreamGroup](g.Fields)
		if err != nil {
			return err
		}
		return apply(ctx, name+"/upstreamGroups/", g.ID, m, mask, s.groups().update)
	}); err != nil {
		return err
	}
	return each("registries", t.Registries, func(r seedResource) error { return s.applyRegistry(ctx, name, r) })
}

// each applies f to the resources at a path of the file until one fails.
func each[R any](path string, all []R, f func(R) error) error {
	for i, r := range all {
		if err := f(r); err != nil {
			return within(fmt.Sprintf("%s[%d]", path, i), err)
		}
	}
	return nil
}

// apply makes a resource or changes it as the file says. collection is the beginning
// of the resource's name.
func apply[M message](ctx context.Context, collection, id string, m M, mask *fieldmaskpb.FieldMask,
	update func(context.Context, updateRequest, M) (M, error),
) error {
	if err := checkSeedID(id); err != nil {
		return err
	}
	fields := m.ProtoReflect().Descriptor().Fields()
	m.ProtoReflect().Set(fields.ByName("name"), protoreflect.ValueOfString(collection+id))
	_, err := update(ctx, seedUpdate{mask}, m)
	return err
}

// seedUpdate is an updateRequest that makes what is missing.
type seedUpdate struct{ mask *fieldmaskpb.FieldMask }

func (u seedUpdate) GetUpdateMask() *fieldmaskpb.FieldMask { return u.mask }
func (u seedUpdate) GetAllowMissing() bool                 { return true }
func (u seedUpdate) GetValidateOnly() bool                 { return false }

// reviveTenant is updateTenant, but first undeletes a tenant that is deleted. The
// file says what there shall be, and makes again what else was deleted.
func (s *Service) reviveTenant(ctx context.Context, req updateRequest, m *pb.Tenant) (*pb.Tenant, error) {
	t, err := s.findAnyTenant(ctx, "name", m.GetName())
	if err == nil && t.ExpireAt.After(time.Now()) {
		_, err = s.UndeleteTenant(ctx, &pb.UndeleteTenantRequest{Name: m.GetName()})
	}
	if err != nil && !fault.Is(err, fault.ResourceUnknown) {
		return nil, err
	}
	return s.updateTenant(ctx, req, m)
}

// reviveRegistry is the update of a registry, but first undeletes one that is deleted.
func (s *Service) reviveRegistry(ctx context.Context, req updateRequest, m *pb.Registry) (*pb.Registry, error) {
	_, r, err := s.registries().withDeleted().find(ctx, "name", m.GetName())
	if err == nil && r.State != tenant.Active {
		_, err = s.UndeleteRegistry(ctx, &pb.UndeleteRegistryRequest{Name: m.GetName()})
	}
	if err != nil && !fault.Is(err, fault.ResourceUnknown) {
		return nil, err
	}
	return s.registries().update(ctx, req, m)
}

func (s *Service) applyRegistry(ctx context.Context, parent string, r seedResource) error {
	m, mask, err := decoded[*pb.Registry](r.Fields)
	if err != nil {
		return err
	}
	return apply(ctx, parent+"/registries/", r.ID, m, mask, s.reviveRegistry)
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

func (s *Service) applyAccount(ctx context.Context, parent string, a seedAccount, dir string) error {
	m, mask, err := decoded[*pb.ServiceAccount](a.Fields)
	if err == nil {
		err = apply(ctx, parent+"/serviceAccounts/", a.ID, m, mask, s.accounts().update)
	}
	if err != nil {
		return err
	}
	return each("keys", a.Keys, func(k seedKey) error { return s.applyKey(ctx, m.GetName(), k, dir) })
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
