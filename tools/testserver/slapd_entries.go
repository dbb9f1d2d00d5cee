package testserver

import (
	"strconv"

	"github.com/go-ldap/ldap/v3"
)

// SlapdEntry is an entry to add.
type SlapdEntry struct {
	DN         string
	Attributes map[string][]string
}

// SlapdPerson is a person of the OpenLDAP shape.
func SlapdPerson(uid, secret string) SlapdEntry {
	return SlapdEntry{"uid=" + uid + "," + SlapdPeople, map[string][]string{
		"objectClass": {"inetOrgPerson"}, "uid": {uid}, "cn": {"Person " + uid}, "sn": {uid}, "mail": {uid + "@example.org"}, "userPassword": {secret},
	}}
}

// SlapdGroup is a group of the OpenLDAP shape, of these distinguished names.
func SlapdGroup(cn string, members ...string) SlapdEntry {
	return SlapdEntry{"cn=" + cn + "," + SlapdGroups, map[string][]string{"objectClass": {"groupOfNames"}, "cn": {cn}, "member": members}}
}

// ADPerson is a person of the shape of Active Directory, whose objectGUID has 16 bytes.
func ADPerson(name, secret, guid string) SlapdEntry {
	return SlapdEntry{"cn=" + name + "," + ADPeople, map[string][]string{
		"objectClass": {"user"}, "objectCategory": {"person"}, "cn": {name}, "sn": {name}, "displayName": {"Person " + name}, "mail": {name + "@corp.test"},
		"sAMAccountName": {name}, "objectGUID": {guid}, "userAccountControl": {"512"}, "userPassword": {secret},
	}}
}

// ADGroup is a group of the shape of Active Directory, of these distinguished names.
func ADGroup(cn, guid string, members ...string) SlapdEntry {
	attributes := map[string][]string{"objectClass": {"group"}, "cn": {cn}, "objectGUID": {guid}, "sAMAccountName": {cn}}
	if len(members) > 0 {
		attributes["member"] = members
	}
	return SlapdEntry{"cn=" + cn + "," + ADGroups, attributes}
}

// Add adds an entry.
func (s *Slapd) Add(e SlapdEntry) {
	s.t.Helper()
	r := ldap.NewAddRequest(e.DN, nil)
	for name, values := range e.Attributes {
		r.Attribute(name, values)
	}
	s.must(s.admin.Add(r))
}

// Set replaces the values of an attribute; none remove it.
func (s *Slapd) Set(dn, attribute string, values ...string) {
	s.t.Helper()
	r := ldap.NewModifyRequest(dn, nil)
	r.Replace(attribute, values)
	s.must(s.admin.Modify(r))
}

// Remove deletes an entry.
func (s *Slapd) Remove(dn string) {
	s.t.Helper()
	s.must(s.admin.Del(ldap.NewDelRequest(dn, nil)))
}

// Rename changes the first part of a name.
func (s *Slapd) Rename(dn, first string) {
	s.t.Helper()
	s.must(s.admin.ModifyDN(ldap.NewModifyDNRequest(dn, first, true, "")))
}

// Read returns the values of an attribute.
func (s *Slapd) Read(dn, attribute string) []string {
	s.t.Helper()
	found, err := s.admin.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{attribute}, nil))
	s.must(err)
	return found.Entries[0].GetAttributeValues(attribute)
}

// Binds is how many binds the server got since it was started, but for those of this type.
func (s *Slapd) Binds() int {
	s.t.Helper()
	return s.bindsOfAll() - s.binds
}

func (s *Slapd) bindsOfAll() int {
	s.t.Helper()
	n, err := strconv.Atoi(s.Read("cn=Bind,cn=Operations,cn=Monitor", "monitorOpInitiated")[0])
	s.must(err)
	return n
}
