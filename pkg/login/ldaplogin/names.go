package ldaplogin

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

// The places of names in settings.
const (
	namePlaceholder = "{name}"
	dnPlaceholder   = "{dn}"
)

const (
	maxName   = 256     // bytes of a name, of a subject and of what else is read of a person
	maxSecret = 1 << 10 // bytes of a password
	maxDN     = 2 << 10 // bytes of a distinguished name
)

// possible reports whether a name and a secret can be those of a person. An empty password
// would be an unauthenticated bind, which servers accept for any name (RFC 4513, section
// 5.1.2).
func possible(name, secret string) bool {
	return isText(name, maxName) && name != "" && secret != "" && len(secret) <= maxSecret && !strings.ContainsRune(secret, 0)
}

// isText refuses what is too long, or what servers could read in different ways.
func isText(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// expandDN puts a name into a distinguished name.
func expandDN(template, name string) string {
	return strings.ReplaceAll(template, namePlaceholder, ldap.EscapeDN(name))
}

// expandFilter puts names into a filter, in one pass, so that a name that reads as a
// placeholder stays a name.
func expandFilter(template, dn, name string) string {
	return strings.NewReplacer(namePlaceholder, ldap.EscapeFilter(name), dnPlaceholder, ldap.EscapeFilter(dn)).Replace(template)
}

// anyName makes a filter that matches whatever name it is about.
func anyName(template string) string { return strings.ReplaceAll(template, namePlaceholder, "*") }
