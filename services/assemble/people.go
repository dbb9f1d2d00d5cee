package assemble

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/login/ldaplogin"
	"github.com/berth-registry/berth/pkg/login/oidclogin"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/people"
)

// people lets people of identity providers log in. The process that runs the janitor reads
// them again.
func (b *builder) people() error {
	o, err := egress(b.config, b.Log)
	if err != nil {
		return err
	}
	own := newOwnAddresses(b.config, b.Addrs)
	o.Own, o.Servers = own.listens, own.serves
	b.dial = upstream.NewDial(o)
	anywhere := o
	anywhere.Allow = []upstream.Network{{Prefix: netip.MustParsePrefix("0.0.0.0/0")}, {Prefix: netip.MustParsePrefix("::/0")}}
	b.toIssuers, b.toOperators = upstream.New(o), upstream.New(anywhere)
	known := people.New(b.stores.meta, b.directories)
	b.logins = b.logins.WithPeople(known)
	b.issuers = people.NewIssuers(known, b.secrets)
	if b.config.Runs(boot.JanitorService) {
		r := people.NewRefresher(b.stores.meta, b.directories, b.shared.leases, b.secrets, b.Log).WithMetrics(b.Metrics)
		b.Go("people", func(ctx context.Context) error { r.Run(ctx); return nil })
	}
	return nil
}

// openDirectory makes the client of a provider. A tenant's is connected to as its upstreams are,
// the operator's wherever it is.
func (b *builder) openDirectory(ctx context.Context, p meta.IdentityProvider) (login.Directory, error) {
	if p.Settings.LDAP == nil && p.Settings.OIDC == nil {
		return nil, fault.New(fault.Unavailable, fault.UnavailableReason, "identity providers of the kind %s are unknown to this version", p.Kind)
	}
	password := ""
	if len(p.Secret) > 0 {
		var err error
		if password, err = b.secrets.Open(p.Secret, p.SecretName()); err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, fault.UnavailableReason, "the secret of an identity provider cannot be opened; give it again")
		}
	}
	if p.Settings.OIDC != nil {
		return b.openIssuer(ctx, p, password)
	}
	options := ldaplogin.Options{Settings: people.LDAPSettings(*p.Settings.LDAP, password), Now: time.Now}
	options.Dial = (&net.Dialer{}).DialContext
	if p.Tenant != meta.Deployment {
		t, err := b.stores.meta.FindTenantByID(ctx, p.Tenant)
		if err != nil {
			return nil, err
		}
		options.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return b.dial(ctx, t.Slug, network, address, p.Settings.LDAP.Insecure)
		}
	}
	c, err := ldaplogin.New(options)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, fault.UnavailableReason, "the settings of an identity provider are not valid")
	}
	return c, nil
}

// openIssuer makes the client of an issuer. A tenant's is reached as its upstreams are, the
// operator's wherever it is.
func (b *builder) openIssuer(ctx context.Context, p meta.IdentityProvider, secret string) (login.Directory, error) {
	o := oidclogin.Options{Settings: people.OIDCSettings(*p.Settings.OIDC, secret), Now: time.Now}
	o.Named, o.Led = b.toOperators.Transport(""), b.toOperators.Transport("")
	if p.Tenant != meta.Deployment {
		t, err := b.stores.meta.FindTenantByID(ctx, p.Tenant)
		if err != nil {
			return nil, err
		}
		o.Named, o.Led = b.toIssuers.Transport(t.Slug), b.toIssuers.PublicTransport()
	}
	c, err := oidclogin.New(o)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, fault.UnavailableReason, "the settings of an identity provider are not valid")
	}
	return c, nil
}
