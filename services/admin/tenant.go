package admin

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// tenantFields are those of a tenant that its clients may set.
var tenantFields = []string{"display_name", "quota_bytes"}

// CreateTenant makes a tenant with its registry "main", private. With
// validate_only, a name that is quarantined is not noticed.
func (s *Service) CreateTenant(ctx context.Context, req *pb.CreateTenantRequest) (*pb.Tenant, error) {
	t := meta.Tenant{Slug: req.GetTenantId(), State: tenant.Active}
	if err := checkSlug("tenant_id", t.Slug); err != nil {
		return nil, err
	}
	if err := setTenant(&t, req.GetTenant()); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() {
		if err := absent(s.store.FindTenant(ctx, t.Slug)); err != nil {
			return nil, err
		}
		return tenantMessage(t), nil
	}
	t, err := s.store.CreateTenant(ctx, cause(ctx), t, tenant.Settings{})
	if err != nil {
		return nil, err
	}
	return tenantMessage(t), nil
}

// GetTenant answers one tenant.
func (s *Service) GetTenant(ctx context.Context, req *pb.GetTenantRequest) (*pb.Tenant, error) {
	t, err := s.findTenant(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	return tenantMessage(t), nil
}

// ListTenants pages by slug.
func (s *Service) ListTenants(ctx context.Context, req *pb.ListTenantsRequest) (*pb.ListTenantsResponse, error) {
	rows, next, err := listPage(s, "tenants", "", req,
		func(p meta.Page) ([]meta.Tenant, error) { return s.store.ListTenants(ctx, p) },
		func(t meta.Tenant) string { return t.Slug })
	if err != nil {
		return nil, err
	}
	return &pb.ListTenantsResponse{Tenants: mapped(rows, tenantMessage), NextPageToken: next}, nil
}

// UpdateTenant changes the display name and the quota.
func (s *Service) UpdateTenant(ctx context.Context, req *pb.UpdateTenantRequest) (*pb.Tenant, error) {
	t, err := s.findTenant(ctx, "tenant.name", req.GetTenant().GetName())
	if fault.Is(err, fault.ResourceUnknown) && req.GetAllowMissing() {
		ids, err := splitName("tenant.name", req.GetTenant().GetName(), "tenants")
		if err != nil {
			return nil, err
		}
		return s.CreateTenant(ctx, &pb.CreateTenantRequest{TenantId: ids[0], Tenant: req.GetTenant(), ValidateOnly: req.GetValidateOnly()})
	}
	if err != nil {
		return nil, err
	}
	if err := checkEtag(req.GetTenant().GetEtag(), t.Version); err != nil {
		return nil, err
	}
	before := tenantMessage(t)
	after := proto.CloneOf(before)
	if err := merge(after, req.GetTenant(), req.GetUpdateMask(), tenantFields); err != nil {
		return nil, err
	}
	if err := setTenant(&t, after); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() || proto.Equal(before, after) {
		return after, nil
	}
	t, err = s.store.UpdateTenant(ctx, cause(ctx), t)
	if err != nil {
		return nil, err
	}
	return tenantMessage(t), nil
}

// DeleteTenant marks the tenant; the janitor removes what it has.
func (s *Service) DeleteTenant(ctx context.Context, req *pb.DeleteTenantRequest) (*emptypb.Empty, error) {
	t, err := s.findTenant(ctx, "name", req.GetName())
	if err != nil {
		return deleted(err, req)
	}
	if err := checkEtag(req.GetEtag(), t.Version); err != nil || req.GetValidateOnly() {
		return deleted(err, req)
	}
	return deleted(s.store.DeleteTenant(ctx, cause(ctx), t.Slug, t.Version), req)
}

// SuspendTenant makes the tenant's hosts answer 403.
func (s *Service) SuspendTenant(ctx context.Context, req *pb.SuspendTenantRequest) (*pb.Tenant, error) {
	return s.setState(ctx, req, tenant.Suspended)
}

// ResumeTenant undoes SuspendTenant.
func (s *Service) ResumeTenant(ctx context.Context, req *pb.ResumeTenantRequest) (*pb.Tenant, error) {
	return s.setState(ctx, req, tenant.Active)
}

type stateRequest interface {
	GetName() string
	GetEtag() string
	GetValidateOnly() bool
}

func (s *Service) setState(ctx context.Context, req stateRequest, to tenant.State) (*pb.Tenant, error) {
	t, err := s.findTenant(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := checkEtag(req.GetEtag(), t.Version); err != nil {
		return nil, err
	}
	was := t.State
	t.State = to
	if was == to || req.GetValidateOnly() {
		return tenantMessage(t), nil
	}
	t, err = s.store.UpdateTenant(ctx, cause(ctx), t)
	if err != nil {
		return nil, err
	}
	return tenantMessage(t), nil
}

// findTenant finds by resource name; field is where the request carries it.
func (s *Service) findTenant(ctx context.Context, field, name string) (meta.Tenant, error) {
	ids, err := splitName(field, name, "tenants")
	if err != nil {
		return meta.Tenant{}, err
	}
	return s.store.FindTenant(ctx, ids[0])
}

// setTenant takes over what a client may set.
func setTenant(t *meta.Tenant, m *pb.Tenant) error {
	if err := checkDisplayName("tenant.display_name", m.GetDisplayName()); err != nil {
		return err
	}
	if m.GetQuotaBytes() < 0 {
		return invalid("tenant.quota_bytes", "a quota is not negative; 0 means no limit")
	}
	t.DisplayName, t.Quota = m.GetDisplayName(), m.GetQuotaBytes()
	return nil
}

func tenantMessage(t meta.Tenant) *pb.Tenant {
	state := pb.Tenant_ACTIVE
	if t.State == tenant.Suspended {
		state = pb.Tenant_SUSPENDED
	}
	m := &pb.Tenant{
		Name:        "tenants/" + t.Slug,
		DisplayName: t.DisplayName,
		State:       state,
		QuotaBytes:  t.Quota,
	}
	if t.ID != 0 { // else it was only validated
		m.Uid = strconv.FormatInt(int64(t.ID), 10)
		m.Etag = etag(t.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(t.CreatedAt), timestamppb.New(t.UpdatedAt)
	}
	return m
}
