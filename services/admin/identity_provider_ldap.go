package admin

import (
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/login/ldaplogin"
	"github.com/berth-registry/berth/pkg/meta"
)

// ldapSettings are the settings of a directory; ldaplogin.Settings.Check checks most of them.
func ldapSettings(m *pb.IdentityProvider_Ldap) (meta.LDAPSettings, error) {
	is := meta.LDAPSettings{
		Servers: m.GetServers(), CA: m.GetCaCertificates(), Insecure: m.GetInsecure(),
		BindDN: m.GetBindDn(), UserDN: m.GetUserDn(), UserBase: m.GetUserBase(), UserFilter: m.GetUserFilter(), DisabledFilter: m.GetDisabledFilter(),
		Name: m.GetNameAttribute(), DisplayName: m.GetDisplayNameAttribute(), Email: m.GetEmailAttribute(),
		Subject: m.GetSubjectAttribute(), MemberOf: m.GetMemberOfAttribute(),
		GroupBase: m.GetGroupBase(), GroupFilter: m.GetGroupFilter(), GroupsByDN: m.GetGroupsByDn(),
		Timeout: m.GetTimeout().AsDuration(),
	}
	if n := len(is.CA); n > maxPEM {
		return is, invalid(fieldLDAP+"ca_certificates", "%d bytes exceed the maximum of %d", n, maxPEM)
	}
	switch m.GetSchema() {
	case pb.IdentityProvider_Ldap_SCHEMA_UNSPECIFIED, pb.IdentityProvider_Ldap_OPENLDAP:
		is.Schema = uint8(ldaplogin.OpenLDAP)
	case pb.IdentityProvider_Ldap_ACTIVE_DIRECTORY:
		is.Schema = uint8(ldaplogin.ActiveDirectory)
	default:
		return is, invalid(fieldLDAP+"schema", "schema is one of OPENLDAP, ACTIVE_DIRECTORY")
	}
	switch m.GetNested() {
	case pb.IdentityProvider_Ldap_NESTING_UNSPECIFIED:
	case pb.IdentityProvider_Ldap_WALK:
		is.Nested = uint8(ldaplogin.Walk)
	case pb.IdentityProvider_Ldap_IN_CHAIN:
		is.Nested = uint8(ldaplogin.InChain)
	default:
		return is, invalid(fieldLDAP+"nested", "nested is one of WALK, IN_CHAIN")
	}
	return is, nil
}

// ldapMessage shows how a directory is asked, without the password.
func ldapMessage(p meta.IdentityProvider) *pb.IdentityProvider_Ldap {
	is := p.Settings.LDAP
	if is == nil {
		return nil
	}
	m := &pb.IdentityProvider_Ldap{
		Servers: is.Servers, CaCertificates: is.CA, Insecure: is.Insecure,
		BindDn: is.BindDN, BindPasswordSet: len(p.Secret) > 0, UserDn: is.UserDN, UserBase: is.UserBase, UserFilter: is.UserFilter, DisabledFilter: is.DisabledFilter,
		Schema:        pb.IdentityProvider_Ldap_OPENLDAP,
		NameAttribute: is.Name, DisplayNameAttribute: is.DisplayName, EmailAttribute: is.Email, SubjectAttribute: is.Subject, MemberOfAttribute: is.MemberOf,
		GroupBase: is.GroupBase, GroupFilter: is.GroupFilter, GroupsByDn: is.GroupsByDN,
	}
	if is.Schema == uint8(ldaplogin.ActiveDirectory) {
		m.Schema = pb.IdentityProvider_Ldap_ACTIVE_DIRECTORY
	}
	switch ldaplogin.Nesting(is.Nested) {
	case ldaplogin.NotNested:
	case ldaplogin.Walk:
		m.Nested = pb.IdentityProvider_Ldap_WALK
	case ldaplogin.InChain:
		m.Nested = pb.IdentityProvider_Ldap_IN_CHAIN
	}
	if is.Timeout != 0 {
		m.Timeout = durationpb.New(is.Timeout)
	}
	return m
}
