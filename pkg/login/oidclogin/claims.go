package oidclogin

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/berth-registry/berth/pkg/login"
)

// Bounds of what an issuer says of a person.
const (
	maxGroups    = 10_000
	maxGroupName = 1024 // bytes
	maxName      = 256  // bytes
	maxSubject   = 255  // OpenID Connect Core 1.0, section 2
)

// claims are what an issuer says of a person.
type claims map[string]json.RawMessage

// person reads who it is. A subject is required; a name that cannot be used is the subject.
// E-mail addresses identify no person, and one that is not verified is left out.
func (s Settings) person(c claims) (login.Person, error) {
	p := login.Person{Subject: c.text("sub"), DisplayName: c.text("name")}
	if p.Subject == "" || len(p.Subject) > maxSubject || hasControls(p.Subject) {
		return p, errors.New("it has no sub, or one that is too long")
	}
	name := s.Username
	if name == "" {
		name = defaultUsername
	}
	if p.Name = c.text(name); p.Name == "" || len(p.Name) > maxName || hasControls(p.Name) {
		p.Name = p.Subject
	}
	var verified bool
	if json.Unmarshal(c["email_verified"], &verified) == nil && verified {
		p.Email = c.text("email")
	}
	groups, err := s.groups(c)
	p.Groups = groups
	return p, err
}

// text is a claim that is a string; else empty.
func (c claims) text(name string) string {
	var s string
	if json.Unmarshal(c[name], &s) != nil {
		return ""
	}
	return s
}

// groups reads the claim of the groups: one name, or a list of names.
func (s Settings) groups(c claims) ([]string, error) {
	if s.Groups == "" {
		return nil, nil
	}
	raw, ok := c.find(s.Groups)
	if !ok {
		return nil, c.elsewhere(s.Groups)
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return checkedGroups(s.Groups, []string{one})
	}
	var some []string
	if err := json.Unmarshal(raw, &some); err != nil {
		return nil, fmt.Errorf("the claim %s is neither a name nor a list of names", s.Groups)
	}
	return checkedGroups(s.Groups, some)
}

// elsewhere is an error where the groups are too many for a token (OpenID Connect Core 1.0,
// section 5.6.2): to read them as none would take rights away.
func (c claims) elsewhere(claim string) error {
	var names map[string]json.RawMessage
	if json.Unmarshal(c["_claim_names"], &names) == nil && names[claim] != nil {
		return fmt.Errorf("the issuer has the claim %s in another place, as it does for too many groups: let it send only those that are needed", claim)
	}
	return nil
}

func checkedGroups(claim string, names []string) ([]string, error) {
	if len(names) > maxGroups {
		return nil, fmt.Errorf("the claim %s has %d groups, more than %d", claim, len(names), maxGroups)
	}
	for _, name := range names {
		if name == "" || len(name) > maxGroupName || hasControls(name) || !utf8.ValidString(name) {
			return nil, fmt.Errorf("the claim %s has a name that is empty, has control characters, or is longer than %d bytes", claim, maxGroupName)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// find looks a claim up by its name, or by a path of names. null is absent.
func (c claims) find(path string) (json.RawMessage, bool) {
	for at := c; ; {
		if raw, ok := at[path]; ok {
			return raw, string(raw) != "null"
		}
		first, rest, nested := strings.Cut(path, ".")
		var inner claims
		if !nested || json.Unmarshal(at[first], &inner) != nil {
			return nil, false
		}
		at, path = inner, rest
	}
}

func hasControls(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
