package access

import "time"

// Token is what a verified token says.
type Token struct {
	Principal Principal // as it was when the token was issued
	Grants    []Grant
	ExpiresAt time.Time
}

// Granted returns the actions on a repository that the token carries. The
// site's settings may allow less by now.
func (t Token) Granted(repository string) Actions {
	return t.find(RepositoryType, repository).Actions
}

// Asked returns the actions on a repository that the token was asked to carry,
// granted or not.
func (t Token) Asked(repository string) Actions {
	return t.find(RepositoryType, repository).Asked
}

// AskedCatalog says whether the token was asked to carry the right to list
// repositories, granted or not.
func (t Token) AskedCatalog() bool {
	return t.find(RegistryType, CatalogName).Asked.Has(Pull)
}

func (t Token) find(kind, name string) Grant {
	for _, g := range t.Grants {
		if g.Type == kind && g.Name == name {
			return g
		}
	}
	return Grant{}
}
