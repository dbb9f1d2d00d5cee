package access

import "github.com/berth-registry/berth/pkg/tenant"

// Grant is what a token carries for one resource: what was asked for and what
// of it was granted. That a right was asked for and refused is a final answer;
// one that was not asked for can be had with another token.
type Grant struct {
	Type      string  `json:"type"`
	Name      string  `json:"name"`
	Actions   Actions `json:"actions"`
	Requested Actions `json:"asked"`
}

// decide grants of each scope what the principal is allowed at the site, and
// nothing else. The list of repositories may be read by whoever may pull.
func decide(s tenant.Site, p Principal, scopes []Scope) Grants {
	grants := make(Grants, 0, len(scopes))
	for _, scope := range scopes {
		g := Grant{Type: scope.Type, Name: scope.Name, Requested: scope.Actions}
		switch scope.Type {
		case RepositoryType:
			g.Actions = scope.Actions & Allowed(s, p, scope.Name)
		case RegistryType:
			g.Actions = scope.Actions & Allowed(s, p, "") & Pull
		}
		grants = append(grants, g)
	}
	return grants
}
