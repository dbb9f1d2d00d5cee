package oidclogin

import (
	"fmt"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/workload"
)

// Settings say how an issuer is asked.
type Settings struct {
	Issuer       string
	ClientID     string
	ClientSecret string   // empty: a public client
	Scopes       []string // besides openid, profile and, where the issuer has it, offline_access
	Username     string   // the claim with the name; empty is preferred_username
	Groups       string   // the claim with the groups; the parts of a path are separated by dots; empty: none are read
}

// Bounds of Settings.
const (
	maxScopes = 16
	maxText   = 256 // bytes
)

const defaultUsername = "preferred_username"

// Check is fault.Invalid, with the field, for settings that no issuer can be asked with.
func (s Settings) Check() error {
	if err := workload.CheckIssuer(s.Issuer); err != nil {
		return refused("issuer", "%s", message(err))
	}
	if s.ClientID == "" || !isText(s.ClientID) {
		return refused("client_id", "it is missing, longer than %d bytes, or has characters other than those of ASCII; it is the ID that the issuer gave for Berth", maxText)
	}
	if len(s.Scopes) > maxScopes {
		return refused("scopes", "%d scopes exceed the maximum of %d", len(s.Scopes), maxScopes)
	}
	for i, scope := range s.Scopes {
		if scope == "" || !isText(scope) || strings.ContainsAny(scope, " \"\\") { // RFC 6749, section 3.3
			return refused(fmt.Sprintf("scopes[%d]", i), "%q is not a scope", fault.ClipTo(scope, maxText))
		}
	}
	for field, claim := range map[string]string{"username_claim": s.Username, "groups_claim": s.Groups} {
		if !isText(claim) {
			return refused(field, "%q is not the name of a claim", fault.ClipTo(claim, maxText))
		}
	}
	return nil
}

// isText reports whether s is short and of printable ASCII.
func isText(s string) bool {
	return len(s) <= maxText && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

func refused(field, format string, args ...any) error {
	return fault.New(fault.Invalid, fault.RequestInvalid, format, args...).WithField(field)
}

func message(err error) string {
	if f := fault.From(err); f != nil {
		return f.Message
	}
	return err.Error()
}
