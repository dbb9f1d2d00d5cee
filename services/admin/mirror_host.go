package admin

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// How long the name before stays valid when a mirror host is rotated.
const (
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 7 * 24 * time.Hour
)

// mirrorHosts is the collection; label gets the label of a mirror host that is made, which
// nothing else keeps.
func (s *Service) mirrorHosts(label *string) collection[meta.MirrorHost, *pb.MirrorHost] {
	return collection[meta.MirrorHost, *pb.MirrorHost]{
		service: s, name: "mirrorHosts", noun: "mirror_host",
		new: func(_ context.Context, t meta.Tenant, slug string) meta.MirrorHost {
			return meta.MirrorHost{Tenant: t.ID, Slug: slug}
		},
		key: func(h meta.MirrorHost) (string, int64) { return h.Slug, h.Version },
		set: s.setMirrorHost, show: shown(mirrorHostMessage),
		limit: s.limits.MirrorHostLimit(), findRow: s.store.FindMirrorHost, listRows: s.store.ListMirrorHosts,
		createRow: func(ctx context.Context, by meta.Cause, h meta.MirrorHost) (meta.MirrorHost, error) {
			*label = tenant.NewMirrorLabel()
			return s.store.CreateMirrorHost(ctx, by, h, meta.MirrorName{Hash: tenant.MirrorHash(*label), ExpiresAt: h.ExpiresAt})
		},
		updateRow: s.store.UpdateMirrorHost, deleteRow: s.store.DeleteMirrorHost,
	}
}

// withHost shows the secret name of a mirror host that was made just now.
func (s *Service) withHost(m *pb.MirrorHost, label string, err error) (*pb.MirrorHost, error) {
	if err == nil && label != "" {
		m.Host = s.pattern.MirrorHost(label)
	}
	return m, err
}

// CreateMirrorHost makes a mirror host and returns its secret name, only here.
func (s *Service) CreateMirrorHost(ctx context.Context, req *pb.CreateMirrorHostRequest) (*pb.MirrorHost, error) {
	var label string
	m, err := s.mirrorHosts(&label).create(ctx, req.GetParent(), req.GetMirrorHostId(), req.GetMirrorHost(), req.GetValidateOnly())
	return s.withHost(m, label, err)
}

// GetMirrorHost returns one mirror host, without its secret name.
func (s *Service) GetMirrorHost(ctx context.Context, req *pb.GetMirrorHostRequest) (*pb.MirrorHost, error) {
	return s.mirrorHosts(nil).get(ctx, req.GetName())
}

// ListMirrorHosts pages by slug, without secret names.
func (s *Service) ListMirrorHosts(ctx context.Context, req *pb.ListMirrorHostsRequest) (*pb.ListMirrorHostsResponse, error) {
	rows, next, err := s.mirrorHosts(nil).list(ctx, req)
	return &pb.ListMirrorHostsResponse{MirrorHosts: rows, NextPageToken: next}, err
}

// UpdateMirrorHost changes what it answers for, and to which clients.
func (s *Service) UpdateMirrorHost(ctx context.Context, req *pb.UpdateMirrorHostRequest) (*pb.MirrorHost, error) {
	var label string
	m, err := s.mirrorHosts(&label).update(ctx, req, req.GetMirrorHost())
	return s.withHost(m, label, err)
}

// RotateMirrorHost makes another secret name and returns it, only here.
func (s *Service) RotateMirrorHost(ctx context.Context, req *pb.RotateMirrorHostRequest) (*pb.MirrorHost, error) {
	overlap, err := lifetime("overlap", req.GetOverlap(), defaultOverlap, 0, maxOverlap, "0 seconds and 7 days")
	if err != nil {
		return nil, err
	}
	ttl, err := mirrorTTL("ttl", req.GetTtl())
	if err != nil {
		return nil, err
	}
	t, h, err := s.mirrorHosts(nil).find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := checkEtag(req.GetEtag(), h.Version); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() {
		return mirrorHostMessage(t, h), nil
	}
	now, label := time.Now(), tenant.NewMirrorLabel()
	name := meta.MirrorName{Hash: tenant.MirrorHash(label), ExpiresAt: now.Add(ttl)}
	by := causedBy(ctx, "expire_time", rfc3339(h.ExpiresAt), rfc3339(name.ExpiresAt))
	if h, err = s.store.RotateMirrorHost(ctx, by, h.Tenant, h.Slug, h.Version, name, now.Add(overlap)); err != nil {
		return nil, err
	}
	return s.withHost(mirrorHostMessage(t, h), label, nil)
}

// DeleteMirrorHost ends a mirror host with its names.
func (s *Service) DeleteMirrorHost(ctx context.Context, req *pb.DeleteMirrorHostRequest) (*emptypb.Empty, error) {
	return s.mirrorHosts(nil).delete(ctx, req, req.GetEtag())
}

// setMirrorHost takes over what a client may set. The store looks for what it names.
func (s *Service) setMirrorHost(_ context.Context, _ meta.Tenant, h *meta.MirrorHost, m *pb.MirrorHost) error {
	if err := checkDisplayName("mirror_host.display_name", m.GetDisplayName()); err != nil {
		return err
	}
	if (m.GetUpstream() == "") == (m.GetUpstreamGroup() == "") {
		return invalid("mirror_host.upstream", "it answers for one upstream or one upstream_group: name either by its ID")
	}
	networks, err := networksOf("mirror_host.networks", m.GetNetworks())
	if err != nil {
		return err
	}
	switch {
	case h.Version == 0:
		ttl, err := mirrorTTL("mirror_host.ttl", m.GetTtl())
		if err != nil {
			return err
		}
		h.ExpiresAt = time.Now().Add(ttl)
	case m.GetTtl() != nil:
		return invalid("mirror_host.ttl", "the end of a name is set when it is made; make another name by :rotate")
	}
	h.DisplayName, h.CachedOnly, h.Networks = m.GetDisplayName(), m.GetCachedOnly(), tenant.NetworksOf(networks)
	h.Upstream, h.Group = m.GetUpstream(), m.GetUpstreamGroup()
	if h.Registry = m.GetRegistry(); h.Registry == "" {
		h.Registry = tenant.MainRegistry
	}
	return nil
}

// mirrorTTL is how long a name is good for. It ends as the tokens of operators do.
func mirrorTTL(field string, ttl *durationpb.Duration) (time.Duration, error) {
	return lifetime(field, ttl, defaultTokenTTL, minTTL, maxTokenTTL, "1 second and 366 days")
}

func lifetime(field string, d *durationpb.Duration, otherwise, shortest, longest time.Duration, limits string) (time.Duration, error) {
	if d == nil {
		return otherwise, nil
	}
	if d.CheckValid() != nil || d.AsDuration() < shortest || d.AsDuration() > longest {
		return 0, invalid(field, "it is between %s", limits)
	}
	return d.AsDuration(), nil
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// wideNetwork is how many bits a network at least fixes that locks a mirror host.
const wideNetwork = 8

func mirrorHostMessage(t meta.Tenant, h meta.MirrorHost) *pb.MirrorHost {
	m := &pb.MirrorHost{
		Name: "tenants/" + t.Slug + "/mirrorHosts/" + h.Slug, DisplayName: h.DisplayName, Registry: h.Registry,
		CachedOnly: h.CachedOnly, ExpireTime: timeOrNone(h.ExpiresAt), OldExpireTime: timeOrNone(h.OldUntil),
		LastUsedTime: timeOrNone(h.UsedAt), LastUsedAddress: h.UsedFrom,
	}
	if h.Upstream != "" {
		m.Target = &pb.MirrorHost_Upstream{Upstream: h.Upstream}
	} else {
		m.Target = &pb.MirrorHost_UpstreamGroup{UpstreamGroup: h.Group}
	}
	for _, n := range h.Networks.All() {
		m.Networks = append(m.Networks, n.String())
		if n.Bits() < wideNetwork {
			m.Warnings = append(m.Warnings, "networks: "+n.String()+" lets very many clients in")
		}
	}
	if h.Networks == "" {
		m.Warnings = append(m.Warnings, "networks is empty: any client that learns the name pulls by it; name the networks of your engines")
	}
	if h.Version != 0 { // else it was only validated
		m.Etag = etag(h.Version)
		m.CreateTime, m.UpdateTime = timestamppb.New(h.CreatedAt), timestamppb.New(h.UpdatedAt)
	}
	return m
}
