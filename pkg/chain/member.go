package chain

import (
	"iter"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Member is one that serves it: a registry, which then asks its own group, or an
// upstream.
type Member struct {
	Name     string            // "registries/prod", "upstreams/ghcr"
	Registry tenant.RegistryID // 0 for an upstream
	Upstream *meta.Upstream    // nil for a registry
	Members  []Member          // of the registry's own group
	entry    meta.Member
}

// SingleUpstream is an upstream that serves it by itself, for all names.
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

// UpstreamOf finds the first upstream in the chain that serves it for the name, as
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

// Withholds says whether a member that serves it for the name, as clients say it,
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

// maxPattern is the most bytes of a pattern.
const maxPattern = 255

// CheckPattern says whether text is a pattern of names: a name in which * stands
// for anything in one component, ** for any number of components, ? for a
// character, [a-z] for one of several.
func CheckPattern(text string) error {
	if text == "" || len(text) > maxPattern || strings.ContainsAny(text, `{}\`) || !doublestar.ValidatePattern(text) {
		return fault.New(fault.Invalid, fault.RequestInvalid, "%q is not a valid name pattern, such as library/** or team-*/app, of at most %d bytes", text, maxPattern)
	}
	return nil
}

// matches says whether one of the patterns is of the name.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := doublestar.Match(p, name)
		return ok && err == nil
	})
}

// selects says whether a pair of include and exclude lists lets the name pass. An
// empty include takes all names.
func selects(include, exclude []string, name string) bool {
	return (len(include) == 0 || matches(include, name)) && !matches(exclude, name)
}

// Offers says whether the tenant takes this name, which is the upstream's own,
// from it.
func Offers(u *meta.Upstream, name string) bool {
	return selects(u.Settings.Include, u.Settings.Exclude, name)
}

// NameAt is the upstream's own name of the repository that clients of a registry
// call name. It is not ok where the tenant does not take that name from it.
func NameAt(u *meta.Upstream, name string) (string, bool) {
	name = u.Settings.NamePrefix + name
	return name, oci.CheckName(name) == nil && Offers(u, name)
}

// AllowsClaimed says whether the upstream may be asked for the name, as clients
// say it, although a registry of the tenant has or had it.
func AllowsClaimed(u *meta.Upstream, name string) bool {
	return matches(u.Settings.AllowClaimed, name)
}
