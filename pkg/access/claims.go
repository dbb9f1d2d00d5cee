package access

import (
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Claims is what a verified token says.
type Claims struct {
	Principal Principal // as it was when the token was issued
	Grants    Grants
	ExpiresAt time.Time
}

// Requested returns the actions on the resource that the token was asked to carry,
// granted or not.
func (c Claims) Requested(resource Scope) Actions { return c.find(resource).Requested }

// Allowed returns the actions that may be done with the resource now: those
// granted, as far as the site's settings still allow them.
func (c Claims) Allowed(s tenant.Site, resource Scope) Actions {
	granted := c.find(resource).Actions
	if granted == 0 {
		return 0
	}
	name := resource.Name
	if resource.Type == RegistryType {
		name = ""
	}
	return granted & Allowed(s, c.Principal, name)
}

func (c Claims) find(resource Scope) Grant {
	for _, g := range c.Grants {
		if g.Type == resource.Type && g.Name == resource.Name {
			return g
		}
	}
	return Grant{}
}
