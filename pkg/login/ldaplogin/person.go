package ldaplogin

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/berth-registry/berth/pkg/login"
)

// objectGUID is Active Directory's attribute with 16 bytes that stay with an entry.
const objectGUID = "objectGUID"

// attributes are those that are read of a person.
func (s Settings) attributes() []string {
	names := []string{s.Name, s.DisplayName, s.Email, s.MemberOf}
	if s.Subject != SubjectDN {
		names = append(names, s.Subject)
	}
	return names
}

// person reads an entry; name is what somebody logged in with, or empty.
func (s Settings) person(e *ldap.Entry, name string) (login.Person, error) {
	subject, err := s.subjectOf(e)
	if err != nil {
		return login.Person{}, err
	}
	names := e.GetEqualFoldAttributeValues(s.Name)
	if len(names) == 0 {
		return login.Person{}, unusable("the entry of a person has no attribute %s", s.Name)
	}
	p := login.Person{Subject: subject, Name: names[0], DisplayName: optional(e, s.DisplayName), Email: optional(e, s.Email)}
	if i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) }); i >= 0 {
		p.Name = names[i]
	}
	if !isText(p.Name, maxName) || p.Name == "" {
		return login.Person{}, unusable("the attribute %s of a person is empty, too long or not text", s.Name)
	}
	return p, nil
}

// optional is an attribute that a person need not have. What is too long, or not text, is
// left out.
func optional(e *ldap.Entry, attribute string) string {
	if value := e.GetEqualFoldAttributeValue(attribute); isText(value, maxName) {
		return value
	}
	return ""
}

// subjectOf is what a person is known by.
func (s Settings) subjectOf(e *ldap.Entry) (string, error) {
	if s.Subject == SubjectDN {
		if !isText(e.DN, maxDN) || e.DN == "" {
			return "", unusable("the distinguished name of a person is empty, too long or not text")
		}
		return e.DN, nil
	}
	raw := e.GetEqualFoldRawAttributeValues(s.Subject)
	if len(raw) != 1 {
		return "", unusable("the entry of a person has %d values of the attribute %s, and it needs one", len(raw), s.Subject)
	}
	subject := string(raw[0])
	if strings.EqualFold(s.Subject, objectGUID) {
		subject = hex.EncodeToString(raw[0])
	}
	if !isText(subject, maxName) || subject == "" {
		return "", unusable("the attribute %s of a person is empty, too long or not text", s.Subject)
	}
	return subject, nil
}

// subjectFilter matches the person with a subject; false for what is no subject.
func (s Settings) subjectFilter(subject string) (string, bool) {
	if !isText(subject, maxName) || subject == "" {
		return "", false
	}
	if strings.EqualFold(s.Subject, objectGUID) {
		raw, err := hex.DecodeString(subject)
		if err != nil {
			return "", false
		}
		subject = string(raw)
	}
	// Every byte is escaped, since some of an objectGUID are not text.
	var escaped strings.Builder
	for _, b := range []byte(subject) {
		escaped.WriteByte('\\')
		escaped.WriteString(hex.EncodeToString([]byte{b}))
	}
	return "(" + s.Subject + "=" + escaped.String() + ")", true
}

// isBelow reports whether an entry is below another one, or is it.
func isBelow(dn, base string) bool {
	child, err := ldap.ParseDN(dn)
	if err != nil {
		return false
	}
	parent, err := ldap.ParseDN(base)
	return err == nil && (parent.EqualFold(child) || parent.AncestorOfFold(child))
}
