package assemble

import (
	"context"

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

// seedsByDefault says whether a first start makes the tenant default: where no other
// machine reaches it, and no other name leads to it.
func seedsByDefault(c boot.Config) bool { return c.BaseDomain == "localhost" && thisMachineOnly(c) }

// seedsDefault says whether the tenant default may be open to all who reach the
// data port, at its two hosts (contract row S64).
func seedsDefault(c boot.Config) bool { return c.SeedDefault || seedsByDefault(c) }

// firstStart makes the default tenant where nothing was ever kept, and it may be.
// There is a signing key from the end of the first start on, so one that was
// interrupted is done again.
func firstStart(ctx context.Context, c boot.Config, m meta.Store) (bool, error) {
	keys, err := m.ListVerifyKeys(ctx)
	if err != nil || len(keys) > 0 {
		return false, err
	}
	if !seedsDefault(c) {
		return true, nil
	}
	return true, seedDefault(ctx, c, m)
}

// seedDefault makes the tenant, and all of it that is missing.
func seedDefault(ctx context.Context, c boot.Config, m meta.Store) error {
	by := func() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "first start"} }
	open := tenant.Settings{AnonymousPull: true, AnonymousPush: c.AnonymousPush || seedsByDefault(c)}
	t, err := m.CreateTenant(ctx, by(), meta.Tenant{Slug: defaultTenant, DisplayName: "Default"}, open)
	if fault.Is(err, fault.AlreadyExists) {
		t, err = m.FindTenant(ctx, defaultTenant)
	}
	if err != nil {
		return err
	}
	if err := openHosts(ctx, m, t.ID); err != nil {
		return err
	}
	return seedDefaultUpstreams(ctx, m, t.ID)
}

// openHosts adds the two hosts to the tenant.
func openHosts(ctx context.Context, m meta.Store, t tenant.ID) error {
	for _, host := range defaultHosts {
		by := meta.Cause{Op: uuid.New(), Actor: "start"}
		_, err := m.CreateDomain(ctx, by, meta.Domain{Tenant: t, Registry: tenant.MainRegistry, Host: host, Verified: true})
		if err != nil && !fault.Is(err, fault.AlreadyExists) {
			return err
		}
	}
	return nil
}

// seedDefaultUpstreams lets the default tenant pull from well-known registries: from
// all by proxy/<host>/<name>, and library/** of Docker Hub under its own name.
func seedDefaultUpstreams(ctx context.Context, m meta.Store, t tenant.ID) error {
	by := func() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "first start"} }
	var slugs []string
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
		s.URL, s.ServeAnonymous = "https://"+u.host, new(bool)
		slugs = append(slugs, u.slug)
		_, err := m.CreateUpstream(ctx, by(), meta.Upstream{Tenant: t, Slug: u.slug, Settings: s})
		if err != nil && !fault.Is(err, fault.AlreadyExists) {
			return err
		}
	}
	const group = "docker-library"
	_, err := m.CreateGroup(ctx, by(), meta.Group{Tenant: t, Slug: group, Members: []meta.Member{
		// Docker Hub denies access to what it does not have, also with a credential.
		{Upstream: "docker-hub", Include: []string{"library/**"}, OnDenied: meta.Continue},
	}})
	if err != nil && !fault.Is(err, fault.AlreadyExists) {
		return err
	}
	r, err := m.FindRegistry(ctx, t, tenant.MainRegistry)
	if err != nil {
		return err
	}
	r.Settings.UpstreamGroup, r.Settings.MirrorUpstreams = group, tenant.SlugsOf(slugs)
	_, err = m.UpdateRegistry(ctx, by(), r)
	return err
}

// thisMachineOnly says whether no other machine can reach the data port. A
// proxy before it lets everyone in, under every host name they send.
func thisMachineOnly(c boot.Config) bool { return boot.Loopback(c.DataAddr) && !behindProxy(c) }

// behindProxy says whether the configuration speaks of a proxy.
func behindProxy(c boot.Config) bool { return c.PublicScheme != "" || len(c.TrustedProxies) > 0 }
