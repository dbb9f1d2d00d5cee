package people

import (
	"github.com/berth-registry/berth/pkg/login/ldaplogin"
	"github.com/berth-registry/berth/pkg/meta"
)

// LDAPSettings are those of the client of a directory.
func LDAPSettings(s meta.LDAPSettings, password string) ldaplogin.Settings {
	return ldaplogin.Settings{
		Servers: s.Servers, CA: []byte(s.CA), Insecure: s.Insecure,
		BindDN: s.BindDN, BindPassword: password, UserDN: s.UserDN, UserBase: s.UserBase, UserFilter: s.UserFilter, DisabledFilter: s.DisabledFilter,
		Schema: ldaplogin.Schema(s.Schema), Name: s.Name, DisplayName: s.DisplayName, Email: s.Email, Subject: s.Subject, MemberOf: s.MemberOf,
		GroupBase: s.GroupBase, GroupFilter: s.GroupFilter, Nested: ldaplogin.Nesting(s.Nested), GroupsByDN: s.GroupsByDN,
		Timeout: s.Timeout,
	}
}

// searches reports whether people can be found at the provider without a login.
func searches(p meta.IdentityProvider) bool {
	return p.Kind != meta.OIDC && (p.Settings.LDAP == nil || p.Settings.LDAP.BindDN != "")
}

// readable reports whether the provider can be asked of the person again without a login.
func readable(provider meta.IdentityProvider, p meta.Person) bool {
	return searches(provider) || provider.Kind == meta.OIDC && len(p.Refresh) > 0
}
