package admin

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/people"
)

// Limits of an identity provider.
const (
	defaultRefresh = 5 * time.Minute
	minRefresh     = time.Minute
	maxRefresh     = 24 * time.Hour
	defaultGrace   = time.Hour
	maxGrace       = 7 * 24 * time.Hour
	maxOffered     = 1000
	fieldProvider  = "identity_provider."
	fieldLDAP      = fieldProvider + "ldap."
)

// setIdentityProvider takes over what a client may set.
func (s *Service) setIdentityProvider(ctx context.Context, t meta.Tenant, p *meta.IdentityProvider, m *pb.IdentityProvider) error {
	if p.Tenant != meta.Deployment && len(m.GetTenants()) > 0 {
		return invalid(fieldProvider+"tenants", "only the operator's identity providers are offered to tenants")
	}
	if err := s.setOffered(ctx, p, m.GetTenants()); err != nil {
		return err
	}
	was := *p
	if err := s.configureProvider(p, m); err != nil {
		return err
	}
	switch {
	case p.Tenant == meta.Deployment:
		return nil
	case p.Settings.OIDC != nil:
		return checkProviderIssuer(ctx, s.chains.CheckAddress, t.Slug, *p.Settings.OIDC)
	case was.Settings.LDAP != nil && slices.Equal(was.Settings.LDAP.Servers, p.Settings.LDAP.Servers) && was.Settings.LDAP.Insecure == p.Settings.LDAP.Insecure:
		return nil
	}
	return checkServers(ctx, s.chains.CheckAddress, t.Slug, *p.Settings.LDAP)
}

// configureProvider makes a provider what a client may set, checked as far as that takes no
// store. Its password is sealed for it.
func (s *Service) configureProvider(p *meta.IdentityProvider, m *pb.IdentityProvider) error {
	if err := checkDisplayName(fieldProvider+"display_name", m.GetDisplayName()); err != nil {
		return err
	}
	kind, err := kindGiven(*p, m)
	if err != nil {
		return err
	}
	is := meta.ProviderSettings{Refresh: defaultRefresh, Grace: defaultGrace}
	for _, d := range []struct {
		field    string
		from     *durationpb.Duration
		to       *time.Duration
		min, max time.Duration
	}{
		{"refresh_interval", m.GetRefreshInterval(), &is.Refresh, minRefresh, maxRefresh},
		{"directory_grace", m.GetDirectoryGrace(), &is.Grace, 0, maxGrace},
	} {
		if d.from == nil {
			continue // the default
		}
		if *d.to = d.from.AsDuration(); d.from.CheckValid() != nil || *d.to < d.min || *d.to > d.max {
			return invalid(fieldProvider+d.field, "%s is out of range: from %s to %s", d.from.AsDuration(), d.min, d.max)
		}
	}
	var secret []byte
	if kind == meta.OIDC {
		secret, err = s.configureOIDC(*p, &is, m.GetOidc())
	} else {
		secret, err = s.configureLDAP(*p, &is, m.GetLdap())
	}
	if err != nil {
		return err
	}
	if is.Mappings, err = mappingsOf(*p, m.GetMappings()); err != nil {
		return err
	}
	p.Kind, p.DisplayName, p.Disabled, p.Settings, p.Secret = kind, m.GetDisplayName(), m.GetDisabled(), is, secret
	return nil
}

// kindGiven is the kind that a message is of, which stays.
func kindGiven(was meta.IdentityProvider, m *pb.IdentityProvider) (string, error) {
	kind, field := meta.LDAP, "ldap"
	if m.GetOidc() != nil {
		kind, field = meta.OIDC, "oidc"
	}
	switch {
	case m.GetLdap() == nil && m.GetOidc() == nil:
		return "", invalid(fieldProvider+"ldap", "it is missing, and so is oidc; one of them says who is asked")
	case m.GetLdap() != nil && m.GetOidc() != nil, was.Kind != "" && was.Kind != kind:
		return "", invalid(fieldProvider+field, "an identity provider has one of ldap and oidc, and keeps it: make another provider")
	default:
		return kind, nil
	}
}

func (s *Service) configureLDAP(was meta.IdentityProvider, is *meta.ProviderSettings, m *pb.IdentityProvider_Ldap) ([]byte, error) {
	settings, err := ldapSettings(m)
	if err != nil {
		return nil, err
	}
	is.LDAP = &settings
	return s.bindPassword(was, settings, m.GetBindPassword())
}

// bindPassword is the sealed password of a directory, checked together with its settings. What
// decides who gets to see a password that the API does not show does not change without it.
func (s *Service) bindPassword(was meta.IdentityProvider, is meta.LDAPSettings, given string) ([]byte, error) {
	kept := len(was.Secret) > 0 && (given == unchangedSecret || given == "" && is.BindDN != "")
	if given == unchangedSecret {
		given = ""
	}
	const some = "a password"
	password := given
	if kept {
		password = some
	}
	if len(given) > maxPassword || strings.ContainsFunc(given, isControl) {
		return nil, invalid(fieldLDAP+"bind_password", "a password has at most %d bytes, and no control characters", maxPassword)
	}
	if err := people.LDAPSettings(is, password).Check(); err != nil {
		return nil, ldapFault(err)
	}
	switch before := was.Settings.LDAP; {
	case kept && (before.BindDN != is.BindDN || before.Insecure != is.Insecure || before.CA != is.CA || !slices.Equal(before.Servers, is.Servers)):
		return nil, invalid(fieldLDAP+"bind_password", "it was given for other servers, certificates or another bind_dn: give it together with these")
	case kept:
		return was.Secret, nil
	case given == "":
		return nil, nil
	case s.secrets.Empty():
		return nil, invalid(fieldLDAP+"bind_password", "this deployment has no key to keep passwords with: its operator must set secret_key_file")
	default:
		return s.secrets.Seal(given, was.SecretName())
	}
}

// ldapFields are the fields of ldaplogin.Settings that the API calls otherwise.
var ldapFields = map[string]string{
	"ca": "ca_certificates", "name": "name_attribute", "display_name": "display_name_attribute", "email": "email_attribute",
	"subject": "subject_attribute", "member_of": "member_of_attribute",
}

// ldapFault names the field as the API does.
func ldapFault(err error) error {
	f := fault.From(err)
	if f == nil {
		return err
	}
	field := f.Field
	if ours, ok := ldapFields[field]; ok {
		field = ours
	}
	return f.WithField(fieldLDAP + field)
}

// checkServers refuses servers that a tenant's provider will never be connected to.
func checkServers(ctx context.Context, check func(ctx context.Context, slug, proxy, url string) error, slug string, is meta.LDAPSettings) error {
	for i, server := range is.Servers {
		u, err := url.Parse(server)
		if err != nil {
			return err
		}
		scheme, port := "https", "636"
		if u.Scheme == "ldap" {
			port = "389"
		}
		if u.Scheme == "ldap" && is.Insecure {
			scheme = "http"
		}
		if u.Port() != "" {
			port = u.Port()
		}
		if err := check(ctx, slug, "", scheme+"://"+bracketed(u.Hostname())+":"+port); err != nil {
			if fault.KindOf(err) != fault.Invalid {
				return err
			}
			return invalid(fmt.Sprintf("%sservers[%d]", fieldLDAP, i), "%q is refused by configuration: a tenant's identity providers are at public addresses, and in the networks of upstream_allow", clipped(server))
		}
	}
	return nil
}

// bracketed is a host as it stands in a URL.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// setOffered finds the tenants that a provider is offered to. Those that it is offered to
// already may have been deleted.
func (s *Service) setOffered(ctx context.Context, p *meta.IdentityProvider, given []string) error {
	if len(given) > maxOffered {
		return invalid(fieldProvider+"tenants", "%d tenants exceed the maximum of %d", len(given), maxOffered)
	}
	if len(given) == 0 {
		p.Tenants = nil
		return nil
	}
	names, err := s.tenantNames(ctx)
	if err != nil {
		return err
	}
	ids := map[string]tenant.ID{}
	for _, id := range slices.Sorted(maps.Keys(names)) {
		if name := names[id]; !strings.HasSuffix(name, " (deleted)") || slices.Contains(p.Tenants, id) {
			ids[name] = id
		}
	}
	offered := map[tenant.ID]bool{}
	for i, name := range given {
		id, ok := ids[name]
		switch field := fmt.Sprintf("%stenants[%d]", fieldProvider, i); {
		case !ok:
			return invalid(field, "%q is not a tenant; give names such as tenants/acme", clipped(name))
		case offered[id]:
			return invalid(field, "%q is there twice", name)
		}
		offered[id] = true
	}
	p.Tenants = slices.Sorted(maps.Keys(offered))
	return nil
}
