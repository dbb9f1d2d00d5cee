package assemble

import (
	"context"
	"log/slog"
	"net"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// defaultTenant is the tenant of a first start.
const defaultTenant = "default"

// defaultHosts lead to the default tenant without a port or a name of its own.
var defaultHosts = []string{"localhost", "127.0.0.1"}

// firstStart makes the default tenant where nothing was ever kept. There is a
// signing key from the end of the first start on, so one that was interrupted
// is done again.
func firstStart(ctx context.Context, c boot.Config, m meta.Store) (bool, error) {
	keys, err := m.ListSigningKeys(ctx)
	if err != nil || len(keys) > 0 {
		return false, err
	}
	by := func() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "first start"} }
	open := tenant.Settings{AnonymousPull: true, AnonymousPush: c.AnonymousPush || thisMachineOnly(c)}
	t, err := m.CreateTenant(ctx, by(), meta.Tenant{Slug: defaultTenant, DisplayName: "Default"}, open)
	if fault.Is(err, fault.AlreadyExists) {
		t, err = m.FindTenant(ctx, defaultTenant)
	}
	if err != nil {
		return false, err
	}
	for _, host := range defaultHosts {
		_, err := m.CreateDomain(ctx, by(), meta.Domain{Tenant: t.ID, Registry: tenant.MainRegistry, Host: host, Verified: true})
		if err != nil && !fault.Is(err, fault.AlreadyExists) {
			return false, err
		}
	}
	return true, wellKnown(ctx, m, t.ID)
}

// wellKnown lets the default tenant pull what others have: all the registries by
// proxy/<host>/<name>, and library/** of Docker Hub under its own name.
func wellKnown(ctx context.Context, m meta.Store, t tenant.ID) error {
	by := func() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "first start"} }
	for _, u := range []struct{ slug, host string }{
		{"docker-hub", "registry-1.docker.io"},
		{"ghcr", "ghcr.io"},
		{"quay", "quay.io"},
		{"kubernetes", "registry.k8s.io"},
		{"gitlab", "registry.gitlab.com"},
		{"microsoft", "mcr.microsoft.com"},
		{"ecr-public", "public.ecr.aws"},
	} {
		s := meta.DefaultUpstreamSettings
		s.URL = "https://" + u.host
		_, err := m.CreateUpstream(ctx, by(), meta.Upstream{Tenant: t, Slug: u.slug, Settings: s})
		if err != nil && !fault.Is(err, fault.AlreadyExists) {
			return err
		}
	}
	const group = "docker-library"
	_, err := m.CreateGroup(ctx, by(), meta.Group{Tenant: t, Slug: group, Members: []meta.Member{
		{Upstream: "docker-hub", Include: []string{"library/**"}},
	}})
	if err != nil && !fault.Is(err, fault.AlreadyExists) {
		return err
	}
	r, err := m.FindRegistry(ctx, t, tenant.MainRegistry)
	if err != nil {
		return err
	}
	r.Settings.UpstreamGroup = group
	_, err = m.UpdateRegistry(ctx, by(), r)
	return err
}

// DefaultRegistry is what anybody may do at the registry main of the tenant
// default, once the process has started.
type DefaultRegistry struct {
	AnonymousPull bool
	AnonymousPush bool
}

// settlePush makes anonymous push to the default tenant what the configuration
// says of it, at every start: given where the operator asks for it, taken where
// the operator does not and the data port can be reached from other machines.
// Otherwise it stays as it is, which is on after a first start on this machine
// alone. The answer is nil where there is no such registry, or none that answers.
func settlePush(ctx context.Context, c boot.Config, m meta.Store, log *slog.Logger) (*DefaultRegistry, error) {
	t, err := m.FindTenant(ctx, defaultTenant)
	switch {
	case fault.Is(err, fault.ResourceUnknown), err == nil && t.State != tenant.Active && t.State != tenant.Suspended:
		if c.AnonymousPush {
			log.WarnContext(ctx, "anonymous_push has no effect: the tenant default, which it is about, was deleted")
		}
		return nil, nil
	case err != nil:
		return nil, err
	}
	suspended := t.State == tenant.Suspended
	r, err := m.FindRegistry(ctx, t.ID, tenant.MainRegistry)
	if err != nil {
		return nil, err
	}
	change := ""
	switch {
	case c.AnonymousPush && !r.Settings.AnonymousPush:
		change = "anonymous push to the tenant default is switched on, as anonymous_push says"
	case !c.AnonymousPush && r.Settings.AnonymousPush && !thisMachineOnly(c):
		change = "the data port can be reached from other machines: anonymous push to the tenant default is switched off; set anonymous_push to keep it"
	}
	if change != "" {
		r.Settings.AnonymousPush = c.AnonymousPush
		if _, err := m.UpdateRegistry(ctx, meta.Cause{Op: uuid.New(), Actor: "start"}, r); err != nil {
			return nil, err
		}
		log.WarnContext(ctx, change, "data_addr", c.DataAddr, "behind_proxy", behindProxy(c))
	}
	push := r.Settings.AnonymousPush && !r.Settings.ReadOnly
	if c.AnonymousPush && (!push || suspended) {
		log.WarnContext(ctx, "anonymous_push has no effect now: the tenant default is suspended, or its registry main is read-only", "suspended", suspended, "read_only", r.Settings.ReadOnly)
	}
	if suspended {
		return nil, nil
	}
	return &DefaultRegistry{AnonymousPull: r.Settings.AnonymousPull, AnonymousPush: push}, nil
}

// thisMachineOnly says whether nobody elsewhere can reach the data port. A
// proxy before it lets everybody in, under every host name they send.
func thisMachineOnly(c boot.Config) bool { return loopback(c.DataAddr) && !behindProxy(c) }

// behindProxy says whether the configuration speaks of a proxy.
func behindProxy(c boot.Config) bool { return c.PublicScheme != "" || len(c.TrustedProxies) > 0 }

// loopback says whether only this machine can reach the address.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
