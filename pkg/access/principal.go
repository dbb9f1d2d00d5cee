package access

import (
	"strings"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Principal is the caller. The zero value is anonymous.
type Principal struct {
	Name   string // "serviceAccounts/ci", "users/alice"; empty for anonymous
	ID     int64  // of the account; never used again, unlike the name
	Tenant tenant.ID
	Role   Role
	Epoch  int64  // of the account, as it was when the secret was checked
	Key    string // the name of the key whose secret it was, TrustKey or PersonTokenKey; empty for passwords
}

// trustPrefix begins Principal.Key of callers with a job's token. No key has such a name.
const trustPrefix = "trusts/"

// TrustKey is Principal.Key of those who logged in by the trust of this name.
func TrustKey(name string) string { return trustPrefix + name }

// TrustOf returns the name of the trust that a Principal.Key, or that of a use, is; false for
// keys.
func TrustOf(key string) (string, bool) { return strings.CutPrefix(key, trustPrefix) }

// personTokenPrefix begins Principal.Key of people with a token for all tenants.
const personTokenPrefix = "personTokens/"

// PersonTokenKey is Principal.Key of those who logged in by the token of this name that is a
// person's for all tenants.
func PersonTokenKey(name string) string { return personTokenPrefix + name }

// PersonTokenOf is TrustOf for PersonTokenKey.
func PersonTokenOf(key string) (string, bool) { return strings.CutPrefix(key, personTokenPrefix) }

// groupPrefix begins the names of groups as principals of rules.
const groupPrefix = "groups/"

// GroupName is the name of the group with this slug: "groups/dev".
func GroupName(slug string) string { return groupPrefix + slug }

// GroupOf returns the slug of the group that a principal of a rule is; false for others.
func GroupOf(principal string) (string, bool) { return strings.CutPrefix(principal, groupPrefix) }

// Kind is a kind of accounts.
type Kind string

// The kinds. The accounts of a tenant have one name space, so that a login needs no kind.
const (
	ServiceKind Kind = "service" // service accounts: machines, with keys
	UserKind    Kind = "user"    // people, with a password and access tokens
)

// kinds are the words of the kinds: the collection, which begins the names of principals,
// and the noun.
var kinds = []struct {
	kind             Kind
	collection, noun string
}{{ServiceKind, "serviceAccounts", "service account"}, {UserKind, "users", "user"}}

// Noun names the kind in messages: "service account".
func (k Kind) Noun() string {
	for _, one := range kinds {
		if one.kind == k {
			return one.noun
		}
	}
	return string(k)
}

// PrincipalName is the name of the account with this slug: "serviceAccounts/ci".
func (k Kind) PrincipalName(slug string) string {
	for _, one := range kinds {
		if one.kind == k {
			return one.collection + "/" + slug
		}
	}
	return string(k) + "/" + slug
}

// AccountOf returns the kind and slug of the account that a principal is; false for other
// principals.
func AccountOf(principal string) (Kind, string, bool) {
	collection, slug, found := strings.Cut(principal, "/")
	if found {
		for _, one := range kinds {
			if one.collection == collection {
				return one.kind, slug, true
			}
		}
	}
	return "", "", false
}

// AccountPrincipal is the principal of a tenant's account.
func AccountPrincipal(k Kind, t tenant.ID, id int64, slug string, r Role) Principal {
	return Principal{Name: k.PrincipalName(slug), ID: id, Tenant: t, Role: r}
}

// ServiceAccount is the principal of a tenant's service account.
func ServiceAccount(t tenant.ID, id int64, slug string, r Role) Principal {
	return AccountPrincipal(ServiceKind, t, id, slug, r)
}

// MirrorHost is the principal of requests by a mirror host. It is no account: in registries
// it has what callers without a credential have.
func MirrorHost(slug string) Principal { return Principal{Name: "mirrorHosts/" + slug} }

// Anonymous says that no credential was given.
func (p Principal) Anonymous() bool { return p.Name == "" }

// AnonymousActor is Actor of all callers without a credential.
const AnonymousActor = "anonymous"

// Actor is the principal's name for the audit log.
func (p Principal) Actor() string {
	if p.Anonymous() {
		return AnonymousActor
	}
	return p.Name
}
