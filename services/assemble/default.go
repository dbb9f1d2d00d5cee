package assemble

import (
	"context"
	"log/slog"
	"slices"

	"github.com/go-kit/kit/endpoint"
	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// DefaultRegistry is what anyone may do at the hosts of the tenant default,
// once the process has started.
type DefaultRegistry struct {
	AnonymousPull bool
	AnonymousPush bool
}

// defaultSettler makes the anonymous rights in the tenant default what the
// configuration says: at every start, and when the deleted tenant is undeleted.
type defaultSettler struct {
	config boot.Config
	meta   meta.Store
	log    *slog.Logger
}

// settle returns what anyone may do at the two hosts; nil where they lead
// nowhere.
func (d defaultSettler) settle(ctx context.Context) (*DefaultRegistry, error) {
	t, err := d.meta.FindTenant(ctx, defaultTenant)
	switch {
	case fault.Is(err, fault.ResourceUnknown):
		return d.absent(ctx)
	case err != nil:
		return nil, err
	}
	r, err := d.meta.FindRegistry(ctx, t.ID, tenant.MainRegistry)
	if err != nil {
		return nil, err
	}
	hosts, err := d.hosts(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	if !seedsDefault(d.config) {
		return nil, d.close(ctx, t, r, hosts)
	}
	if len(hosts) == 0 && !d.config.SeedDefault {
		return nil, nil // the operator took them away, or they were taken when others could reach this
	}
	return d.serve(ctx, t, r, hosts)
}

// absent is settle where the tenant does not exist. One that was deleted, and can be
// undeleted, is not made again.
func (d defaultSettler) absent(ctx context.Context) (*DefaultRegistry, error) {
	_, err := d.meta.FindHolder(ctx, defaultTenant)
	if err != nil && !fault.Is(err, fault.ResourceUnknown) {
		return nil, err
	}
	switch deleted := err == nil; {
	case deleted && (d.config.SeedDefault || d.config.AnonymousPush):
		d.log.WarnContext(ctx, "seed_default and anonymous_push have no effect: the tenant default, which they are about, was deleted")
	case d.config.SeedDefault:
		if err := seedDefault(ctx, d.config, d.meta); err != nil {
			return nil, err
		}
		d.log.WarnContext(ctx, "the tenant default is made, as seed_default says: everyone who reaches the data port may pull at the hosts localhost and 127.0.0.1")
		return d.settle(ctx)
	case d.config.AnonymousPush:
		d.log.WarnContext(ctx, "anonymous_push has no effect: the tenant default, which it is about, is not there; set seed_default to make it")
	}
	return nil, nil
}

// hosts are those of the two that lead to the tenant.
func (d defaultSettler) hosts(ctx context.Context, t tenant.ID) ([]string, error) {
	var found []string
	for _, host := range defaultHosts {
		_, err := d.meta.FindDomain(ctx, t, host)
		switch {
		case err == nil:
			found = append(found, host)
		case !fault.Is(err, fault.ResourceUnknown):
			return nil, err
		}
	}
	return found, nil
}

// close removes all anonymous rights where the two hosts still exist:
// what was seeded for one machine must not serve others. Without them the tenant
// is the operator's own, who may have opened it; only push, which the
// configuration decides, is then taken.
func (d defaultSettler) close(ctx context.Context, t meta.Tenant, r meta.Registry, hosts []string) error {
	const back = "; start with --seed-default (BERTH_SEED_DEFAULT=true) to serve it to everyone who reaches the data port"
	pull := len(hosts) > 0 && r.Settings.AnonymousPull
	push := r.Settings.AnonymousPush && (len(hosts) > 0 || !d.config.AnonymousPush)
	if pull || push {
		r.Settings.AnonymousPull, r.Settings.AnonymousPush = r.Settings.AnonymousPull && !pull, r.Settings.AnonymousPush && !push
		if _, err := d.meta.UpdateRegistry(ctx, meta.Cause{Op: uuid.New(), Actor: "start"}, r); err != nil {
			return err
		}
	}
	for _, host := range hosts {
		if err := d.meta.DeleteDomain(ctx, meta.Cause{Op: uuid.New(), Actor: "start"}, t.ID, host); err != nil {
			return err
		}
	}
	if pull || push || len(hosts) > 0 {
		d.log.WarnContext(ctx, "the data port can be reached from other machines or by other names: the tenant default is closed to callers who are not logged in"+back,
			"hosts_removed", hosts, "anonymous_pull_removed", pull, "anonymous_push_removed", push,
			"data_addr", d.config.DataAddr, "base_domain", d.config.BaseDomain, "behind_proxy", behindProxy(d.config))
	}
	if d.config.AnonymousPush {
		d.log.WarnContext(ctx, "anonymous_push gives nothing: anonymous callers have no access to the tenant default"+back)
	}
	return nil
}

// serve gives the hosts back where the operator asks for it, and makes push what
// the configuration says: given where it is asked for, taken where it is not
// and others can reach the data port. Otherwise push stays as it is, which is on
// after a first start on this machine alone.
func (d defaultSettler) serve(ctx context.Context, t meta.Tenant, r meta.Registry, hosts []string) (*DefaultRegistry, error) {
	c, before := d.config, r.Settings
	change := ""
	if len(hosts) == 0 {
		change = "the tenant default is served to everyone who reaches the data port, at the hosts localhost and 127.0.0.1, as seed_default says"
		r.Settings.AnonymousPull = true
	}
	switch {
	case c.AnonymousPush && !before.AnonymousPush:
		change = "anonymous push to the tenant default is switched on, as anonymous_push says"
		r.Settings.AnonymousPush = true
	case !c.AnonymousPush && before.AnonymousPush && !seedsByDefault(c):
		change = "the data port can be reached from other machines or by other names: anonymous push to the tenant default is switched off; set anonymous_push to keep it"
		r.Settings.AnonymousPush = false
	}
	if r.Settings != before {
		if _, err := d.meta.UpdateRegistry(ctx, meta.Cause{Op: uuid.New(), Actor: "start"}, r); err != nil {
			return nil, err
		}
	}
	if len(hosts) == 0 {
		if err := openHosts(ctx, d.meta, t.ID); err != nil {
			return nil, err
		}
	}
	if change != "" {
		d.log.WarnContext(ctx, change, "data_addr", c.DataAddr, "base_domain", c.BaseDomain, "behind_proxy", behindProxy(c))
	}
	suspended, push := t.State == tenant.Suspended, r.Settings.AnonymousPush && !r.Settings.ReadOnly
	if c.AnonymousPush && (!push || suspended) {
		d.log.WarnContext(ctx, "anonymous_push has no effect now: the tenant default is suspended, or its registry main is read-only", "suspended", suspended, "read_only", r.Settings.ReadOnly)
	}
	if suspended {
		return nil, nil
	}
	return &DefaultRegistry{AnonymousPull: r.Settings.AnonymousPull, AnonymousPush: push}, nil
}

// afterUndelete settles when a tenant was taken back, before it is answered: it
// comes with all that it had, perhaps from a time when no other machine reached this one.
func (d defaultSettler) afterUndelete(op string) endpoint.Middleware {
	return func(next endpoint.Endpoint) endpoint.Endpoint {
		if op != "UndeleteTenant" {
			return next
		}
		return func(ctx context.Context, req any) (any, error) {
			answer, err := next(ctx, req)
			if err != nil {
				return answer, err
			}
			if _, err := d.settle(ctx); err != nil {
				return nil, err
			}
			return answer, nil
		}
	}
}

// ownHostsOnly is defaultSites for the admin API, which tells hosts.
func (b builder) ownHostsOnly() func(tenantSlug, registry string, domains []string) bool {
	if !b.config.Embedded() {
		return nil
	}
	return func(tenantSlug, registry string, domains []string) bool {
		return tenantSlug == defaultTenant && registry == tenant.MainRegistry &&
			slices.ContainsFunc(domains, func(d string) bool { return slices.Contains(defaultHosts, d) })
	}
}

// defaultSites keeps the registry of everyone at its two hosts: while they lead to
// it, no name of the base domain does, which others could make theirs.
type defaultSites struct{ tenant.Finder }

// FindSite implements tenant.Finder.
func (s defaultSites) FindSite(ctx context.Context, l tenant.Lookup) (tenant.Site, error) {
	site, err := s.Finder.FindSite(ctx, l)
	if err != nil || l.TenantSlug != defaultTenant || l.Registry != tenant.MainRegistry {
		return site, err
	}
	for _, host := range defaultHosts {
		open, err := s.Finder.FindSite(ctx, tenant.Lookup{Host: host})
		switch {
		case err == nil && open.Registry == site.Registry:
			return tenant.Site{}, fault.New(fault.NotFound, fault.HostUnknown, "no registry answers at this host")
		case err != nil && !fault.Is(err, fault.HostUnknown):
			return tenant.Site{}, err
		}
	}
	return site, nil
}
