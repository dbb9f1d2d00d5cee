package admin

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// maxMirrored is how many upstreams a registry names besides those of its chain.
const maxMirrored = 100

// registries are deleted by DeleteRegistry, which leaves time to take them back.
func (s *Service) registries() collection[meta.Registry, *pb.Registry] {
	return collection[meta.Registry, *pb.Registry]{
		service: s, name: "registries", noun: "registry",
		new: func(_ context.Context, t meta.Tenant, slug string) meta.Registry {
			return meta.Registry{Tenant: t.ID, Slug: slug}
		},
		key: func(r meta.Registry) (string, int64) { return r.Slug, r.Version },
		set: s.setRegistry, show: s.showRegistries,
		limit: s.limits.RegistryLimit(), findRow: s.store.FindRegistry, listRows: s.store.ListRegistries,
		createRow: s.store.CreateRegistry, updateRow: s.store.UpdateRegistry,
		findAny: s.store.FindAnyRegistry, listAll: s.store.ListAllRegistries,
	}
}

// CreateRegistry creates a registry, which serves at once.
func (s *Service) CreateRegistry(ctx context.Context, req *pb.CreateRegistryRequest) (*pb.Registry, error) {
	return s.registries().create(ctx, req.GetParent(), req.GetRegistryId(), req.GetRegistry(), req.GetValidateOnly())
}

// GetRegistry returns one registry with its hosts, also a deleted one that can be
// restored.
func (s *Service) GetRegistry(ctx context.Context, req *pb.GetRegistryRequest) (*pb.Registry, error) {
	v, err := s.viewOf(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	return v.registries(s).withDeleted().get(ctx, req.GetName())
}

// ListRegistries pages by slug.
func (s *Service) ListRegistries(ctx context.Context, req *pb.ListRegistriesRequest) (*pb.ListRegistriesResponse, error) {
	v, err := s.viewOf(ctx, req.GetParent())
	if err != nil {
		return nil, err
	}
	c := v.registries(s)
	if req.GetShowDeleted() {
		c = c.withDeleted()
	}
	rows, next, err := c.list(ctx, req)
	return &pb.ListRegistriesResponse{Registries: rows, NextPageToken: next}, err
}

// UpdateRegistry changes the registry's settings.
func (s *Service) UpdateRegistry(ctx context.Context, req *pb.UpdateRegistryRequest) (*pb.Registry, error) {
	c := s.registries()
	if callerOf(ctx).admin() {
		return c.update(ctx, req, req.GetRegistry())
	}
	if req.GetAllowMissing() {
		return nil, errOnlyTenantAdmin("create a registry")
	}
	c.set = func(ctx context.Context, t meta.Tenant, r *meta.Registry, m *pb.Registry) error {
		if next, err := registrySettings(m); err == nil && concernRights(r.Settings, next) {
			return errOnlyTenantAdmin("change anonymous_pull, anonymous_push, upstream_group, mirror_upstreams and quota")
		}
		return s.setRegistry(ctx, t, r, m)
	}
	return c.update(ctx, req, req.GetRegistry())
}

// concernRights reports whether a change of settings gives or takes rights: to callers
// without a credential, or to what upstreams and other registries have, or to room.
func concernRights(a, b tenant.Settings) bool {
	return a.AnonymousPull != b.AnonymousPull || a.AnonymousPush != b.AnonymousPush ||
		a.UpstreamGroup != b.UpstreamGroup || a.MirrorUpstreams != b.MirrorUpstreams || a.Quota != b.Quota
}

func errOnlyTenantAdmin(what string) error {
	return fault.New(fault.Denied, fault.DeniedReason, "only role ADMIN may %s; an access rule with the action ADMIN does not give that", what)
}

// DeleteRegistry marks the registry; the janitor removes it when it cannot be
// taken back any more.
func (s *Service) DeleteRegistry(ctx context.Context, req *pb.DeleteRegistryRequest) (*pb.Deletion, error) {
	m, err := s.deleteRegistry(ctx, req)
	return deletedAnswer(m, err, req)
}

func (s *Service) deleteRegistry(ctx context.Context, req *pb.DeleteRegistryRequest) (*pb.Deletion, error) {
	t, r, err := s.registries().find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if r.Slug == tenant.MainRegistry {
		return nil, fault.New(fault.Conflict, reasonMain, "registry %q lives as long as its tenant", r.Slug)
	}
	if err := checkEtag(req.GetEtag(), r.Version); err != nil {
		return nil, err
	}
	d := doomed{name: "registry " + strconv.Quote(r.Slug), tenant: t.ID, registry: r.ID}
	if err := s.force(ctx, &d, req.GetForce()); err != nil {
		return nil, err
	}
	by, err := overriding(ctx, deleting(ctx, s.registryMessage(t, r, nil)), req.GetOverrideTagRules())
	if err != nil {
		return nil, err
	}
	by.ValidateOnly = req.GetValidateOnly()
	err = s.store.DeleteRegistry(ctx, by, t.ID, r.Slug, r.Version, req.GetForce())
	if fault.Is(err, fault.NotEmpty) { // something was pushed after it was counted
		err = s.force(ctx, &d, false)
	}
	if err != nil {
		return nil, err
	}
	if by.ValidateOnly {
		return s.deletion(d, time.Time{}, time.Time{}), nil
	}
	r, err = s.store.FindAnyRegistry(ctx, t.ID, r.Slug)
	if fault.Is(err, fault.ResourceUnknown) { // it cannot be taken back
		r, err = meta.Registry{DeletedAt: time.Now()}, nil
	}
	return s.deletion(d, r.DeletedAt, r.ExpireAt), err
}

// UndeleteRegistry undoes DeleteRegistry.
func (s *Service) UndeleteRegistry(ctx context.Context, req *pb.UndeleteRegistryRequest) (*pb.Registry, error) {
	t, r, err := s.registries().withDeleted().find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := checkEtag(req.GetEtag(), r.Version); err != nil {
		return nil, err
	}
	if r.State != tenant.Active {
		if err := s.admitUndeleted(ctx, r); err != nil {
			return nil, err
		}
	} else if req.GetValidateOnly() {
		return nil, fault.New(fault.Conflict, fault.AlreadyExists, "registry %q is not deleted", r.Slug)
	}
	if !req.GetValidateOnly() {
		if r, err = s.store.UndeleteRegistry(ctx, causedBy(ctx, "state", stateDeleted, stateActive), t.ID, r.Slug, r.Version); err != nil {
			return nil, err
		}
	}
	domains, err := s.verifiedDomains(ctx, t)
	if err != nil {
		return nil, err
	}
	return s.registryMessage(t, r, domains), nil
}

// admitUndeleted is validateChain for one whose group may be gone by now: then it
// comes back without.
func (s *Service) admitUndeleted(ctx context.Context, r meta.Registry) error {
	r.Settings.MirrorUpstreams = "" // those that went meanwhile do not come back with it
	if r.Settings.UpstreamGroup == "" {
		return nil
	}
	_, err := s.store.FindGroup(ctx, r.Tenant, r.Settings.UpstreamGroup)
	if fault.Is(err, fault.ResourceUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.validateChain(ctx, r)
}

// validateChain looks whether all chains of the tenant come to an end with the
// registry.
func (s *Service) validateChain(ctx context.Context, r meta.Registry) error {
	if r.Settings.UpstreamGroup == "" && r.Settings.MirrorUpstreams == "" {
		return nil
	}
	t, err := s.store.FindTopology(ctx, r.Tenant)
	if err != nil {
		return err
	}
	for i, slug := range r.Settings.MirrorUpstreams.All() {
		if _, ok := t.Upstreams[slug]; !ok {
			return invalid(fmt.Sprintf("%s[%d]", fieldMirrored, i), "upstream %q not found in this tenant", slug)
		}
	}
	if r.Settings.UpstreamGroup == "" {
		return nil
	}
	if t.Registries == nil {
		t.Registries = map[string]meta.TopologyRegistry{}
	}
	t.Registries[r.Slug] = meta.TopologyRegistry{ID: r.ID, Group: r.Settings.UpstreamGroup}
	return checkChains(t, "registry.upstream_group")
}

// setRegistry takes over what a client may set.
func (s *Service) setRegistry(ctx context.Context, _ meta.Tenant, r *meta.Registry, m *pb.Registry) error {
	settings, err := registrySettings(m)
	if err != nil {
		return err
	}
	was := r.Settings
	r.Settings = settings
	if was.UpstreamGroup == settings.UpstreamGroup && was.MirrorUpstreams == settings.MirrorUpstreams {
		return nil
	}
	return s.validateChain(ctx, *r)
}

// showRegistries reads the tenant's domains once for all of its registries.
func (s *Service) showRegistries(ctx context.Context, t meta.Tenant) (func(meta.Registry) *pb.Registry, error) {
	domains, err := s.verifiedDomains(ctx, t)
	return func(r meta.Registry) *pb.Registry { return s.registryMessage(t, r, domains) }, err
}

// registrySettings is what a client may set, checked.
func registrySettings(m *pb.Registry) (tenant.Settings, error) {
	missing := m.GetMissingReferences()
	if _, known := pb.Registry_MissingReferences_name[int32(missing)]; !known {
		return tenant.Settings{}, invalid("registry.missing_references", "unknown value %d", missing)
	}
	if err := checkMirrored(m.GetMirrorUpstreams()); err != nil {
		return tenant.Settings{}, err
	}
	quota, err := registryQuota(m.GetQuota())
	if err != nil {
		return tenant.Settings{}, err
	}
	return tenant.Settings{
		Quota:                  quota,
		AnonymousPull:          m.GetAnonymousPull(),
		AnonymousPush:          m.GetAnonymousPush(),
		ReadOnly:               m.GetReadOnly(),
		AllowMissingReferences: missing == pb.Registry_ALLOW,
		DeleteReferrers:        m.GetDeleteReferrers(),
		RedirectBlobs:          m.GetRedirectBlobs(),
		UpstreamGroup:          m.GetUpstreamGroup(),
		MirrorUpstreams:        tenant.SlugsOf(m.GetMirrorUpstreams()),
	}, nil
}

// fieldMirrored is where a request has the upstreams that a registry mirrors.
const fieldMirrored = "registry.mirror_upstreams"

// checkMirrored looks at the slugs alone.
func checkMirrored(slugs []string) error {
	if len(slugs) > maxMirrored {
		return invalid(fieldMirrored, "%d upstreams exceed the maximum of %d", len(slugs), maxMirrored)
	}
	for i, slug := range slugs {
		field := fmt.Sprintf("%s[%d]", fieldMirrored, i)
		if err := checkSlug(field, slug); err != nil {
			return err
		}
		if slices.Contains(slugs[:i], slug) {
			return invalid(field, "%q is named twice", slug)
		}
	}
	return nil
}

// registryMessage shows a registry; domains are the tenant's verified ones.
func (s *Service) registryMessage(t meta.Tenant, r meta.Registry, domains []meta.Domain) *pb.Registry {
	missing := pb.Registry_REJECT
	if r.Settings.AllowMissingReferences {
		missing = pb.Registry_ALLOW
	}
	state, hosts := pb.Registry_ACTIVE, []string{s.pattern.Host(t.Slug, r.Slug)}
	if r.State == tenant.Deleting {
		state, hosts = pb.Registry_DELETED, nil
	}
	for _, d := range domains {
		if d.Registry == r.Slug {
			hosts = append(hosts, d.Host)
		}
	}
	if s.own != nil && len(hosts) > 1 && s.own(t.Slug, r.Slug, hosts[1:]) {
		hosts = hosts[1:]
	}
	m := &pb.Registry{
		Name:              "tenants/" + t.Slug + "/registries/" + r.Slug,
		Hosts:             hosts,
		AnonymousPull:     r.Settings.AnonymousPull,
		AnonymousPush:     r.Settings.AnonymousPush,
		ReadOnly:          r.Settings.ReadOnly,
		MissingReferences: missing,
		DeleteReferrers:   r.Settings.DeleteReferrers,
		RedirectBlobs:     r.Settings.RedirectBlobs,
		UpstreamGroup:     r.Settings.UpstreamGroup,
		MirrorUpstreams:   r.Settings.MirrorUpstreams.All(),
		State:             state,
		Quota:             registryQuotaMessage(r.Settings.Quota),
	}
	if !r.DeletedAt.IsZero() {
		m.DeleteTime = timestamppb.New(r.DeletedAt)
	}
	if !r.ExpireAt.IsZero() {
		m.ExpireTime = timestamppb.New(r.ExpireAt)
	}
	if r.ID != 0 { // else it was only validated
		m.Etag = etag(r.Version)
		m.Hosted = hostedMessage(r.Hosted)
		m.CreateTime, m.UpdateTime = timestamppb.New(r.CreatedAt), timestamppb.New(r.UpdatedAt)
	}
	return m
}
