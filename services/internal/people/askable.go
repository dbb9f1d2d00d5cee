package people

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
)

// askable are the providers that may see a password for a name, the operator's first: none where an
// account here has the name, and only the operator's where it may be of a person of theirs. Issuers
// take no passwords.
func askable(providers []meta.IdentityProvider, known []meta.Namesake) []meta.IdentityProvider {
	ofTenants := true
	for _, one := range known {
		if one.Provider == 0 {
			return nil
		}
		ofTenants = ofTenants && slices.ContainsFunc(providers, func(p meta.IdentityProvider) bool {
			return p.ID == one.Provider && p.Tenant != meta.Deployment // and not one that is disabled, offered no longer or deleted
		})
	}
	return slices.DeleteFunc(slices.Clone(providers), func(p meta.IdentityProvider) bool {
		return p.Kind == meta.OIDC || p.Tenant != meta.Deployment && !ofTenants
	})
}

// nameAt is the name to ask a provider for: people may log in by the IDs that they have here.
func nameAt(provider meta.IdentityProvider, name string, known []meta.Namesake) string {
	i := slices.IndexFunc(known, func(n meta.Namesake) bool { return n.Provider == provider.ID && n.Slug == name })
	if i < 0 {
		return name
	}
	return known[i].LoginName
}

// apart reports whether a tenant's provider may see a password for a name while one of the operator's
// cannot be asked: there are people who have the name, and when each of them logged in last, all of
// the operator's that are asked now said that they have no such name. askable says that those people
// are of tenants' providers.
func apart(known []meta.Namesake, mark string) bool {
	return mark != "" && len(known) > 0 && !slices.ContainsFunc(known, func(n meta.Namesake) bool { return n.Apart != mark })
}

// apartFrom is the mark of people who log in with a name that no provider of the operator's has. It
// is of the name as it is written, since providers compare names in their own ways, and of the
// providers as they are: one that was changed, or added, has not been asked.
func apartFrom(name string, providers []meta.IdentityProvider) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%q", name) // a hash never fails
	for _, p := range providers {
		if p.Tenant == meta.Deployment && p.Kind != meta.OIDC {
			_, _ = fmt.Fprintf(h, " %d@%d", p.ID, p.Version)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
