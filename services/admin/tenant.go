package admin

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// CreateTenant makes a tenant with its registry "main", private. With
// validate_only, a name that is quarantined is noticed only while the tenant that
// had it can be taken back.
func (s *Service) CreateTenant(ctx context.Context, req *pb.CreateTenantRequest) (*pb.Tenant, error) {
	t := meta.Tenant{Slug: req.GetTenantId(), State: tenant.Active}
	if err := checkSlug("tenant_id", t.Slug); err != nil {
		return nil, err
	}
	if err := setTenant(&t, req.GetTenant()); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() {
		if err := s.slugIsFree(ctx, t.Slug); err != nil {
			return nil, err
		}
		return tenantMessage(t), nil
	}
	t, err := s.store.CreateTenant(ctx, creating(ctx, tenantMessage(t)), t, tenant.Settings{})
	if err != nil {
		return nil, err
	}
	return tenantMessage(t), nil
}

// GetTenant returns one tenant.
func (s *Service) GetTenant(ctx context.Context, req *pb.GetTenantRequest) (*pb.Tenant, error) {
	t, err := s.findAnyTenant(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if t.State == tenant.Deleted || t.State == tenant.Deleting && t.ExpireAt.IsZero() {
		// Its slug can be another one's at any time: only the uid names it.
		if _, byID := uidOf(req.GetName()); !byID {
			return nil, fault.New(fault.NotFound, fault.ResourceUnknown, "tenant %q was deleted and cannot be brought back; GET it by its uid, tenants/%d", t.Slug, t.ID)
		}
	}
	return tenantMessage(t), nil
}

// ListTenants pages by slug, and deleted ones of one slug by id.
func (s *Service) ListTenants(ctx context.Context, req *pb.ListTenantsRequest) (*pb.ListTenantsResponse, error) {
	list, fetch, key := "tenants", s.store.ListTenants, func(t meta.Tenant) string { return t.Slug }
	if req.GetShowDeleted() {
		list, fetch, key = "tenants, deleted ones too", s.store.ListHolders, meta.HolderKey
	}
	rows, next, err := listPage(s, list, "", req,
		func(p meta.Page) ([]meta.Tenant, error) { return fetch(ctx, p) }, key)
	if err != nil {
		return nil, err
	}
	return &pb.ListTenantsResponse{Tenants: mapped(rows, tenantMessage), NextPageToken: next}, nil
}

// UpdateTenant changes the display name and the quota.
func (s *Service) UpdateTenant(ctx context.Context, req *pb.UpdateTenantRequest) (*pb.Tenant, error) {
	return s.updateTenant(ctx, req, req.GetTenant())
}

func (s *Service) updateTenant(ctx context.Context, req updateRequest, m *pb.Tenant) (*pb.Tenant, error) {
	t, err := s.findTenant(ctx, "tenant.name", m.GetName())
	if fault.Is(err, fault.ResourceUnknown) && req.GetAllowMissing() {
		slug := strings.TrimPrefix(m.GetName(), "tenants/")
		return s.CreateTenant(ctx, &pb.CreateTenantRequest{TenantId: slug, Tenant: m, ValidateOnly: req.GetValidateOnly()})
	}
	if err != nil {
		return nil, err
	}
	if err := checkEtag(m.GetEtag(), t.Version); err != nil {
		return nil, err
	}
	before := tenantMessage(t)
	after := proto.CloneOf(before)
	if err := merge("tenant", after, m, req.GetUpdateMask()); err != nil {
		return nil, err
	}
	if err := setTenant(&t, after); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() || proto.Equal(before, after) {
		return after, nil
	}
	t, err = s.store.UpdateTenant(ctx, caused(ctx, before, after), t)
	if err != nil {
		return nil, err
	}
	return tenantMessage(t), nil
}

// DeleteTenant marks the tenant; the janitor removes what it has when it cannot
// be taken back any more.
func (s *Service) DeleteTenant(ctx context.Context, req *pb.DeleteTenantRequest) (*pb.Deletion, error) {
	m, err := s.deleteTenant(ctx, req)
	return deletedAnswer(m, err, req)
}

func (s *Service) deleteTenant(ctx context.Context, req *pb.DeleteTenantRequest) (*pb.Deletion, error) {
	t, err := s.findTenant(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := checkEtag(req.GetEtag(), t.Version); err != nil {
		return nil, err
	}
	d := doomed{name: "tenant " + strconv.Quote(t.Slug), tenant: t.ID}
	if err := s.force(ctx, &d, req.GetForce()); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() {
		return s.deletion(d, time.Time{}, time.Time{}), nil
	}
	err = s.store.DeleteTenant(ctx, deleting(ctx, tenantMessage(t)), t.Slug, t.Version, req.GetForce())
	if fault.Is(err, fault.NotEmpty) { // something was pushed after it was counted
		err = s.force(ctx, &d, false)
	}
	if err != nil {
		return nil, err
	}
	t, err = s.store.FindTenantByID(ctx, t.ID)
	return s.deletion(d, t.DeletedAt, t.ExpireAt), err
}

// UndeleteTenant undoes DeleteTenant.
func (s *Service) UndeleteTenant(ctx context.Context, req *pb.UndeleteTenantRequest) (*pb.Tenant, error) {
	ids, err := splitName("name", req.GetName(), "tenants")
	if err != nil {
		return nil, err
	}
	t, err := s.store.FindHolder(ctx, ids[0])
	if err != nil {
		return nil, err
	}
	if err := checkEtag(req.GetEtag(), t.Version); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() && t.State == tenant.Deleting && t.ExpireAt.After(time.Now()) {
		return tenantMessage(t), nil
	}
	if req.GetValidateOnly() && (t.State == tenant.Deleting || t.State == tenant.Deleted) {
		return nil, fault.New(fault.NotFound, fault.ResourceUnknown, "tenant %q was deleted too long ago to be restored", t.Slug)
	}
	if req.GetValidateOnly() {
		return nil, fault.New(fault.Conflict, fault.AlreadyExists, "tenant %q is not deleted", t.Slug)
	}
	t, err = s.store.UndeleteTenant(ctx, causedBy(ctx, "state", stateDeleted, stateActive), t.Slug, t.Version)
	if err != nil {
		return nil, err
	}
	return tenantMessage(t), nil
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
	was, before := t.State, tenantMessage(t)
	t.State = to
	if was == to || req.GetValidateOnly() {
		return tenantMessage(t), nil
	}
	t, err = s.store.UpdateTenant(ctx, caused(ctx, before, tenantMessage(t)), t)
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
	return s.tenantBySlug(ctx, ids[0])
}

// findAnyTenant is findTenant, but finds deleted tenants, too: by the slug, if no
// other tenant has it, or by the uid in place of the slug.
func (s *Service) findAnyTenant(ctx context.Context, field, name string) (meta.Tenant, error) {
	ids, err := splitName(field, name, "tenants")
	if err != nil {
		return meta.Tenant{}, err
	}
	if id, ok := uidOf(name); ok {
		return s.store.FindTenantByID(ctx, id)
	}
	return s.store.FindHolder(ctx, ids[0])
}

// uidOf is the uid that a name of a tenant has in place of the slug. No slug
// begins with a digit.
func uidOf(name string) (tenant.ID, bool) {
	id, err := strconv.ParseInt(strings.TrimPrefix(name, "tenants/"), 10, 64)
	return tenant.ID(id), err == nil && id > 0
}

// slugIsFree refuses the slug of a tenant, also of a deleted one that can be
// taken back.
func (s *Service) slugIsFree(ctx context.Context, slug string) error {
	t, err := s.store.FindHolder(ctx, slug)
	switch {
	case fault.Is(err, fault.ResourceUnknown):
		return nil
	case err != nil:
		return err
	case t.ExpireAt.After(time.Now()):
		return fault.New(fault.Conflict, fault.NameQuarantined, "tenant %q was deleted and can be restored: undelete it, or choose another name", slug)
	case t.State == tenant.Deleting || t.State == tenant.Deleted:
		return nil
	default:
		return absent(t, nil)
	}
}

// setTenant takes over what a client may set.
func setTenant(t *meta.Tenant, m *pb.Tenant) error {
	if err := checkDisplayName("tenant.display_name", m.GetDisplayName()); err != nil {
		return err
	}
	if err := checkQuota("tenant.quota_bytes", m.GetQuotaBytes()); err != nil {
		return err
	}
	if err := checkRateLimits(m.GetRateLimits()); err != nil {
		return err
	}
	if err := checkMaxima(m); err != nil {
		return err
	}
	t.MaxHosted = maxima(m)
	t.RateLimits = rateLimits(m.GetRateLimits())
	t.DisplayName, t.Quota, t.NoPasswords = m.GetDisplayName(), m.GetQuotaBytes(), m.GetDisablePasswordLogin()
	return nil
}

func tenantMessage(t meta.Tenant) *pb.Tenant {
	state := pb.Tenant_ACTIVE
	switch {
	case t.State == tenant.Suspended:
		state = pb.Tenant_SUSPENDED
	case t.State == tenant.Deleting && !t.ExpireAt.IsZero():
		state = pb.Tenant_DELETED
	case t.State == tenant.Deleting, t.State == tenant.Deleted:
		state = pb.Tenant_PURGED
	}
	m := &pb.Tenant{
		Name:        "tenants/" + t.Slug,
		DisplayName: t.DisplayName,
		State:       state,
		QuotaBytes:  t.Quota,

		DisablePasswordLogin: t.NoPasswords,
		RateLimits:           rateLimitsMessage(t.RateLimits),
		MaxRepositories:      t.MaxHosted.Repositories,
		MaxManifests:         t.MaxHosted.Manifests,
		MaxTags:              t.MaxHosted.Tags,
	}
	if t.ID != 0 { // else it was only validated
		m.Uid = strconv.FormatInt(int64(t.ID), 10)
		m.Etag = etag(t.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(t.CreatedAt), timestamppb.New(t.UpdatedAt)
	}
	if !t.DeletedAt.IsZero() {
		m.DeleteTime = timestamppb.New(t.DeletedAt)
	}
	if !t.ExpireAt.IsZero() {
		m.ExpireTime = timestamppb.New(t.ExpireAt)
	}
	return m
}
