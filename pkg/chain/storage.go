package chain

import (
	"github.com/berth-registry/berth/pkg/tenant"
)

// Storage is where the tenant itself keeps what a member answers for a name: a
// repository of a registry, or of the cache of an upstream as it is configured
// now.
type Storage struct {
	Registry tenant.RegistryID
	Name     string // of the repository there
	// Unclaimed says that it answers only as long as no registry of the chain has,
	// or ever had, the name: as an upstream that is not allowed claimed names.
	Unclaimed bool
	// Withheld says that it does not answer callers who are not logged in.
	Withheld bool
}

// Storages are those of the members that answer for the name, as clients of the
// registry say it, in the order in which they are asked.
func (c Chain) Storages(name string) []Storage {
	return storages(nil, c.Members, name)
}

func storages(found []Storage, members []Member, name string) []Storage {
	for i := range members {
		m := &members[i]
		if !m.Takes(name) {
			continue
		}
		if m.Upstream == nil {
			found = append(found, Storage{Registry: m.Registry, Name: name})
			found = storages(found, m.Members, name)
			continue
		}
		if at, ok := NameAt(m.Upstream, name); ok {
			found = append(found, Storage{Registry: m.Upstream.Cache, Name: at, Unclaimed: !AllowsClaimed(m.Upstream, name), Withheld: !m.Upstream.Settings.ServesAnonymous()})
		}
	}
	return found
}
