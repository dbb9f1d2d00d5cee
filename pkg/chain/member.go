package chain

import (
	"iter"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Member is a member of a chain: a registry, which then asks its own group, or an
// upstream.
type Member struct {
	Name     string            // "registries/prod", "upstreams/ghcr"
	Registry tenant.RegistryID // 0 for an upstream
	Upstream *meta.Upstream    // nil for a registry
	Members  []Member          // of the registry's own group
	entry    meta.Member
	checked  []Registry // where the caller's own rights count: on the way to it, and itself
}

// SingleUpstream is a member for one upstream, for all names.
func SingleUpstream(u *meta.Upstream) Member {
	return Member{Name: "upstreams/" + u.Slug, Upstream: u}
}

// Takes reports whether the member is asked for the name, as clients of the
// registry use it.
func (m *Member) Takes(name string) bool {
	return selects(m.entry.Include, m.entry.Exclude, name)
}

// ContinuesOnOutage reports whether later members are asked after an outage of this
// one, which may have the content.
func (m *Member) ContinuesOnOutage() bool { return m.entry.OnOutage == meta.Continue }

// Answering are the members to ask for the name, as clients of the registry use it,
// in order, with the repository's name there.
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

// UpstreamOf finds the first upstream in the chain for the name, as clients of the
// registry use it. claimed says that a registry of the chain has, or had, the name.
func (c Chain) UpstreamOf(name string, claimed bool) (*meta.Upstream, bool) {
	for m := range c.Answering(name) {
		if m.Upstream != nil && (!claimed || AllowsClaimed(m.Upstream, name)) {
			return m.Upstream, true
		}
	}
	return nil, false
}

// Withholds reports whether a member for the name, as clients use it, does not
// serve this caller, who is anonymous.
func (c Chain) Withholds(name string, caller Caller) bool {
	for m := range c.Answering(name) {
		if m.Upstream != nil && !m.Upstream.Settings.ServesAnonymous() || !m.Rights(caller).Has(access.Pull) {
			return true
		}
	}
	return false
}

// Storage is the tenant's own storage of a member's content under a name: a
// repository of a registry, or of an upstream's present cache registry.
type Storage struct {
	Registry tenant.RegistryID
	Name     string // of the repository there
	// Unclaimed says that it is used only while no registry of the chain has, or ever
	// had, the name: it is of an upstream that may not serve claimed names.
	Unclaimed bool
	// Upstream is that of a cache; nil for a registry.
	Upstream *meta.Upstream
	// Withheld says that anonymous callers do not get its content.
	Withheld bool
}

// Storages are those of the members to ask for the name, as clients of the registry
// use it, in order.
func (c Chain) Storages(name string, caller Caller) []Storage {
	var found []Storage
	for m, at := range c.Answering(name) {
		if !m.Rights(caller).Has(access.Pull) {
			continue
		}
		s := Storage{Registry: m.Registry, Name: at}
		if u := m.Upstream; u != nil {
			s = Storage{Registry: u.Cache, Name: at, Upstream: u, Unclaimed: !AllowsClaimed(u, name), Withheld: !u.Settings.ServesAnonymous()}
		}
		found = append(found, s)
	}
	return found
}

// selects reports whether include and exclude lists select the name. An empty
// include selects all names.
func selects(include, exclude []string, name string) bool {
	return (len(include) == 0 || oci.MatchesAny(include, name)) && !oci.MatchesAny(exclude, name)
}

// Offers reports whether the settings select this name, which is the upstream's
// own.
func Offers(u *meta.Upstream, name string) bool {
	return selects(u.Settings.Include, u.Settings.Exclude, name)
}

// NameAt is the upstream's own name for name, as clients of a registry use it. It
// returns false if the settings exclude it.
func NameAt(u *meta.Upstream, name string) (string, bool) {
	name = u.Settings.NamePrefix + name
	return name, oci.CheckName(name) == nil && Offers(u, name)
}

// AllowsClaimed reports whether the upstream may be asked for the name, as clients
// use it, although a registry of the tenant has or had it.
func AllowsClaimed(u *meta.Upstream, name string) bool {
	return oci.MatchesAny(u.Settings.AllowClaimed, name)
}
