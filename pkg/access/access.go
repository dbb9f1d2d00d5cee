// Package access holds rights: principals and their roles, the scope grammar of
// the Docker token protocol, and the signed tokens that carry granted scopes.
package access

import (
	"encoding/json"
	"strings"
)

// Role is what an account may do in all registries of its tenant.
type Role string

// The roles. A member may do what access rules give it; an auditor too, and reads
// everything in the admin API of its tenant; a reader pulls everything; a writer pulls,
// pushes and promotes; an admin deletes, undeletes and purges too, and may use the admin API
// for its own tenant.
const (
	Member  Role = "MEMBER"
	Auditor Role = "AUDITOR"
	Reader  Role = "READER"
	Writer  Role = "WRITER"
	Admin   Role = "ADMIN"
)

// Actions returns the rights of the role; an unknown role has none.
func (r Role) Actions() Actions {
	switch r {
	case Reader:
		return Pull | Fill
	case Writer:
		return Pull | Fill | Push | Promote
	case Admin:
		return Pull | Fill | Push | Promote | Delete | Undelete | Purge
	default:
		return 0
	}
}

// The types of resources that scopes name. Of RegistryType there is one
// resource, CatalogName.
const (
	RepositoryType = "repository"
	RegistryType   = "registry"
	CatalogName    = "catalog"
)

// Scope asks for actions on one resource.
type Scope struct {
	Type    string // RepositoryType or RegistryType
	Name    string // of the repository; CatalogName
	Actions Actions
}

// Repository is the scope of actions on a repository.
func Repository(name string, a Actions) Scope { return Scope{RepositoryType, name, a} }

// Catalog is the scope of reading the list of repositories.
var Catalog = Scope{RegistryType, CatalogName, Pull}

// Actions is a set of rights on a repository.
type Actions uint8

// The actions. Tokens carry the first three, those of the Docker token protocol. Fill is to
// pull what no registry of the chain hosts and the cache does not have yet; it counts only
// together with Pull. The others are of the admin API: Promote is to bring in what another
// registry of the tenant has, Undelete to bring back what was deleted, Purge to end a
// digest for good, Manage to use it for a repository or registry.
const (
	Pull     Actions = 1 << 0
	Push     Actions = 1 << 1
	Delete   Actions = 1 << 2
	Fill     Actions = 1 << 3
	Promote  Actions = 1 << 4
	Undelete Actions = 1 << 5
	Manage   Actions = 1 << 6
	Purge    Actions = 1 << 7
)

// All is every action of a token; "*" in a scope.
const All = Pull | Push | Delete

// actionNames are the names of actions, in the order they are written.
var actionNames = []struct {
	action Actions
	name   string
}{{Pull, "pull"}, {Push, "push"}, {Delete, "delete"}, {Fill, "fill"}, {Promote, "promote"}, {Undelete, "undelete"}, {Manage, "admin"}, {Purge, "purge"}}

// Has says whether all of want is in a.
func (a Actions) Has(want Actions) bool { return a&want == want }

// String writes the set as a scope does: "pull,push".
func (a Actions) String() string { return strings.Join(a.names(), ",") }

func (a Actions) names() []string {
	names := []string{}
	for _, n := range actionNames {
		if a.Has(n.action) {
			names = append(names, n.name)
		}
	}
	return names
}

// parseAction reads one word of a scope; what no token carries is not an action.
func parseAction(word string) Actions {
	if word == "*" {
		return All
	}
	for _, n := range actionNames {
		if n.name == word {
			return n.action & All
		}
	}
	return 0
}

// MarshalJSON writes the set as the access claim does: ["pull","push"].
func (a Actions) MarshalJSON() ([]byte, error) { return json.Marshal(a.names()) }

// UnmarshalJSON reads what MarshalJSON wrote; unknown words are not actions.
func (a *Actions) UnmarshalJSON(b []byte) error {
	var words []string
	if err := json.Unmarshal(b, &words); err != nil {
		return err
	}
	*a = 0
	for _, w := range words {
		*a |= parseAction(w)
	}
	return nil
}
