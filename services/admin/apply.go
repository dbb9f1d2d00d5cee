package admin

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
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
	dir := filepath.Dir(file)
	if err = s.applyProviders(ctx, f.seed, dir); err == nil {
		err = each("tenants", f.Tenants, func(t seedTenant) error { return s.applyWithRetry(ctx, t, dir) })
	}
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
