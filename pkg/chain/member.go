package chain

import (
	"iter"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Member is one that is asked: a registry, which then asks its own group, or an
// upstream.
type Member struct {
	Name     string            // "registries/prod", "upstreams/ghcr"
	Registry tenant.RegistryID // 0 for an upstream
	Upstream *meta.Upstream    // nil for a registry
	Members  []Member          // of the registry's own group
	entry    meta.Member
}

// SingleUpstream is an upstream that is asked by itself, for all names.
func SingleUpstream(u *meta.Upstream) Member {
	return Member{Name: "upstreams/" + u.Slug, Upstream: u}
}

// Takes says whether the member answers for the name, as clients of the registry
// say it.
func (m *Member) Takes(name string) bool {
	return selects(m.entry.Include, m.entry.Exclude, name)
}

// ContinuesOnOutage says whether those after the member are asked although it
// may have what is looked for.
func (m *Member) ContinuesOnOutage() bool { return m.entry.OnOutage == meta.Continue }

// ContinuesOnDenied says whether those after the member are asked although it
// refused. Without a credential that is what some registries answer for what they
// do not have; with one, it must be looked into.
func (m *Member) ContinuesOnDenied() bool {
	if m.entry.OnDenied == "" {
		return m.Upstream != nil && m.Upstream.Settings.Username == ""
	}
	return m.entry.OnDenied == meta.Continue
}

// Answering are the members that answer for the name, as clients of the registry
// say it, in the order in which they are asked, with the name of the repository
// there.
func (c Chain) Answering(name string) iter.Seq2[*Member, string] {
	return func(yield func(*Member, string) bool) { answering(c.Members, name, yield) }
}

func answering(members []Member, name string, yield func(*Member, string) bool) bool {
	for i := range members {
		m := &members[i]
		if !m.Takes(name) {
			continue
		}
		at, ok := name, true
		if m.Upstream != nil {
			at, ok = NameAt(m.Upstream, name)
		}
		if ok && !yield(m, at) || !answering(m.Members, name, yield) {
			return false
		}
	}
	return true
}

// UpstreamOf finds the first upstream in the chain that is asked for the name, as
// clients of the registry say it. claimed says that a registry of the chain has,
// or had, the name.
func (c Chain) UpstreamOf(name string, claimed bool) (*meta.Upstream, bool) {
	for m := range c.Answering(name) {
		if m.Upstream != nil && (!claimed || AllowsClaimed(m.Upstream, name)) {
			return m.Upstream, true
		}
	}
	return nil, false
}

// Withholds says whether a member that is asked for the name, as clients say it,
// does not serve callers who are not logged in.
func (c Chain) Withholds(name string) bool {
	for m := range c.Answering(name) {
		if m.Upstream != nil && !m.Upstream.Settings.ServesAnonymous() {
			return true
		}
	}
	return false
}

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
	var found []Storage
	for m, at := range c.Answering(name) {
		s := Storage{Registry: m.Registry, Name: at}
		if u := m.Upstream; u != nil {
			s = Storage{Registry: u.Cache, Name: at, Unclaimed: !AllowsClaimed(u, name), Withheld: !u.Settings.ServesAnonymous()}
		}
		found = append(found, s)
	}
	return found
}
