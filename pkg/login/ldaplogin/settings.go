package ldaplogin

import (
	"cmp"
	"crypto/x509"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/berth-registry/berth/pkg/fault"
)

// Schema is a choice of attributes and filters, for what Settings leave empty.
type Schema uint8

// The schemas.
const (
	OpenLDAP        Schema = iota // inetOrgPerson with uid, entryUUID, and memberOf of the overlay
	ActiveDirectory               // sAMAccountName, objectGUID, userAccountControl
)

// Nesting is how the groups are found that a group is a member of.
type Nesting uint8

// The ways.
const (
	NotNested Nesting = iota // only groups that have the person as a member
	Walk                     // a search for each level of groups
	InChain                  // one search, by Active Directory's LDAP_MATCHING_RULE_IN_CHAIN
)

// SubjectDN as the subject attribute takes the distinguished name as the subject: for
// directories without a better one. A person who is moved becomes another one.
const SubjectDN = "dn"

// Settings say where a directory is, and how people and groups are found in it. In filters
// {name} is the name that somebody logs in with, and in filters of groups {dn} the
// distinguished name of a member.
type Settings struct {
	// Servers hold the same directory: ldaps://HOST[:PORT], or ldap://HOST[:PORT], which
	// must offer StartTLS. The first one that can be asked is.
	Servers  []string
	CA       []byte // certificates in PEM that sign those of the servers; empty: those of the system
	Insecure bool   // ldap:// is without TLS, and passwords cross the network in clear

	// BindDN is the account that searches. It may be empty with UserDN: then people read their
	// own entry, and Find is not possible.
	BindDN, BindPassword string
	UserDN               string // such as "uid={name},ou=people,dc=example,dc=org"; empty: people are searched for
	UserBase             string // people are below it; by default the parent of UserDN
	UserFilter           string
	DisabledFilter       string // matches people who are disabled

	Schema                            Schema
	Name, DisplayName, Email, Subject string // attributes of people
	MemberOf                          string // attribute of people with the names of their groups

	GroupBase   string // groups are searched for below it; empty: only MemberOf counts
	GroupFilter string
	Nested      Nesting
	GroupsByDN  bool // groups are named by their distinguished name, not by the first part of it

	Timeout time.Duration // of one server's part in a call; 5 s by default
}

// What a schema chooses.
const (
	openLDAPDisabled = "(pwdAccountLockedTime=000001010000Z)" // by an administrator; that of a wrong password ends by itself
	adUser           = "(&(objectCategory=person)(objectClass=user)(sAMAccountName={name}))"
	adDisabled       = "(userAccountControl:1.2.840.113556.1.4.803:=2)"
	adInChain        = "(member:1.2.840.113556.1.4.1941:={dn})"
)

// withDefaults fills in what is empty.
func (s Settings) withDefaults() Settings {
	name, display, subject, disabled := "uid", "cn", "entryUUID", openLDAPDisabled
	if s.Schema == ActiveDirectory {
		name, display, subject, disabled = "sAMAccountName", "displayName", objectGUID, adDisabled
	}
	s.Name, s.DisplayName = cmp.Or(s.Name, name), cmp.Or(s.DisplayName, display)
	s.Email, s.Subject = cmp.Or(s.Email, "mail"), cmp.Or(s.Subject, subject)
	s.DisabledFilter, s.MemberOf = cmp.Or(s.DisabledFilter, disabled), cmp.Or(s.MemberOf, "memberOf")
	if s.UserFilter == "" {
		s.UserFilter = "(" + s.Name + "={name})"
		if s.Schema == ActiveDirectory && s.Name == name {
			s.UserFilter = adUser
		}
	}
	group := "(member={dn})"
	if s.Nested == InChain {
		group = adInChain
	}
	s.GroupFilter = cmp.Or(s.GroupFilter, group)
	if _, parent, ok := strings.Cut(s.UserDN, ","); ok && s.UserBase == "" {
		s.UserBase = parent
	}
	s.Timeout = cmp.Or(s.Timeout, 5*time.Second)
	return s
}

const (
	maxServers = 8
	maxTimeout = 30 * time.Second
	maxSetting = 1 << 10
)

// Check refuses settings that cannot mean what they say: fault.Invalid, with the field.
func (s Settings) Check() error {
	if len(s.Servers) == 0 || len(s.Servers) > maxServers {
		return invalid("servers", "a directory has 1 to %d servers", maxServers)
	}
	for _, raw := range s.Servers {
		if _, err := s.parseServer(raw); err != nil {
			return err
		}
	}
	if len(s.CA) > 0 && !x509.NewCertPool().AppendCertsFromPEM(s.CA) {
		return invalid("ca", "the CA has no certificate in PEM form")
	}
	if s.Timeout < 0 || s.Timeout > maxTimeout {
		return invalid("timeout", "the timeout is at most %s", maxTimeout)
	}
	s = s.withDefaults()
	for _, check := range []func() error{s.checkPeople, s.checkGroups, s.checkAttributes} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s Settings) checkPeople() error {
	switch {
	case s.UserDN == "" && s.BindDN == "":
		return invalid("bind_dn", "people are found by an account that searches, or by user_dn")
	case (s.BindDN == "") != (s.BindPassword == ""):
		return invalid("bind_password", "bind_dn and bind_password belong together")
	case s.UserDN != "" && !strings.Contains(s.UserDN, namePlaceholder):
		return invalid("user_dn", "user_dn needs {name} where the name belongs")
	case s.UserBase == "":
		return invalid("user_base", "user_base says below which entry people are")
	case !strings.Contains(s.UserFilter, namePlaceholder):
		return invalid("user_filter", "user_filter needs {name} where the name belongs")
	}
	dns := map[string]string{"bind_dn": s.BindDN, "user_dn": expandDN(s.UserDN, "name"), "user_base": s.UserBase, "group_base": s.GroupBase}
	for field, dn := range dns {
		if _, err := ldap.ParseDN(dn); err != nil || len(dn) > maxSetting {
			return invalid(field, "%q is not a valid distinguished name", dn)
		}
	}
	return nil
}

func (s Settings) checkGroups() error {
	switch {
	case s.Nested > InChain || s.Nested != NotNested && s.GroupBase == "":
		return invalid("group_base", "groups of groups are searched for: group_base says below which entry")
	case s.Nested != NotNested && !strings.Contains(s.GroupFilter, dnPlaceholder):
		return invalid("group_filter", "groups of groups need {dn} in group_filter")
	}
	filters := map[string]string{
		"user_filter": expandFilter(s.UserFilter, "", "name"), "disabled_filter": s.DisabledFilter,
		"group_filter": expandFilter(s.GroupFilter, "cn=dn", "name"),
	}
	for field, filter := range filters {
		if _, err := ldap.CompileFilter(filter); err != nil || len(filter) > maxSetting {
			return invalid(field, "%q is not a valid filter", filter)
		}
	}
	return nil
}

func (s Settings) checkAttributes() error {
	for field, name := range map[string]string{
		"name": s.Name, "display_name": s.DisplayName, "email": s.Email, "subject": s.Subject, "member_of": s.MemberOf,
	} {
		outside := func(r rune) bool { return r != '-' && r != '.' && !isAlphanumeric(r) }
		if len(name) > maxName || strings.ContainsFunc(name, outside) {
			return invalid(field, "%q is not a valid name of an attribute", name)
		}
	}
	return nil
}

// parseServer returns the server that a URL names.
func (s Settings) parseServer(raw string) (*server, error) {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > maxSetting || !slices.Contains([]string{"ldap", "ldaps"}, u.Scheme) || u.Hostname() == "" ||
		u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, invalid("servers", "%q is not ldaps://HOST[:PORT] or ldap://HOST[:PORT]", raw)
	}
	found := &server{host: u.Hostname(), security: overTLS, idleFor: idleFor}
	port := ldap.DefaultLdapsPort
	if u.Scheme == "ldap" {
		port, found.security = ldap.DefaultLdapPort, startsTLS
		if s.Insecure {
			found.security = inClear
		}
	}
	found.address = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
	return found, nil
}

func invalid(field, format string, args ...any) error {
	return fault.New(fault.Invalid, fault.RequestInvalid, format, args...).WithField(field)
}
