package assemble

import (
	"fmt"
	"log/slog"

	"golang.org/x/net/http/httpproxy"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/pkg/workload"
)

// openEgress opens the ways to upstreams and to the issuers of jobs' tokens, and takes these
// tokens.
func (b *builder) openEgress() error {
	if !b.config.RunsData() && !b.config.Runs(boot.AdminService) {
		return nil
	}
	o, err := b.upstreams()
	if err != nil {
		return err
	}
	b.clients = upstream.New(o)
	b.logins.WithJobs(workload.New(workload.Config{Trusts: b.stores.meta, Named: b.clients.Transport, Led: b.clients.PublicTransport()}))
	return nil
}

// upstreams are the options of what upstreams are asked with.
func (b *builder) upstreams() (upstream.Options, error) {
	o, err := egress(b.config, b.Log)
	if err != nil {
		return o, err
	}
	if o.Helpers, err = helpers(b.config, b.Log); err != nil {
		return o, fmt.Errorf("read %s: %w", settingHelpers, err)
	}
	own := newOwnAddresses(b.config, b.Addrs)
	for _, n := range b.config.UpstreamAllow {
		if n.Ports == nil && !n.Open {
			b.Log.Warn("upstream_allow names a network without ports, which lets upstreams reach all services in it: name the ports of registries, or * for all", "network", n.String(), "better", boot.Network{Tenant: n.Tenant, Prefix: n.Prefix, Ports: []uint16{443}}.String())
		}
	}
	o.Own, o.Servers, o.Metrics, o.Log = own.listens, own.serves, b.Metrics, b.Log
	return o, nil
}

// egress is what the configuration says of the ways to upstreams.
func egress(c boot.Config, log *slog.Logger) (upstream.Options, error) {
	authorities, err := c.UpstreamAuthorities(log)
	if err != nil {
		return upstream.Options{}, err
	}
	o := upstream.Options{
		Environment: httpproxy.Config{HTTPSProxy: c.HTTPSProxy.Reveal(), HTTPProxy: c.HTTPProxy.Reveal(), NoProxy: c.NoProxy},
		Deny:        c.UpstreamDeny,
		Authorities: authorities.PEM,
	}
	for _, n := range c.UpstreamAllow {
		o.Allow = append(o.Allow, upstream.Network{Tenant: n.Tenant, Prefix: n.Prefix, Ports: n.Ports})
	}
	for _, p := range c.UpstreamProxies {
		o.Proxies = append(o.Proxies, upstream.Proxy{Tenant: p.Tenant, Name: p.Name, URL: p.URL.Reveal()})
	}
	return o, nil
}
