// Package chain works out who answers for what a registry does not hold: the
// members of its upstream group, the groups of those, and for which names.
package chain

import (
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// MaxMembers is how many members a chain may come to, those of its registries'
// own groups included: what one pull may ask at most.
const MaxMembers = 64

// Chain is what a registry's group comes to.
type Chain struct {
	Members []Member
	// Registries are the registry itself and all registries in the chain: names
	// of theirs are claimed.
	Registries []tenant.RegistryID
}

// Member is one that is asked: a registry, which then asks its own group, or an
// upstream.
type Member struct {
	Name     string            // "registries/prod", "upstreams/ghcr"
	Registry tenant.RegistryID // 0 for an upstream
	Upstream *meta.Upstream    // nil for a registry
	Members  []Member          // of the registry's own group
	entry    meta.Member
}

// Of follows the groups from a registry on, by its slug. A registry without a
// group has an empty chain. A chain that cannot be followed to its end, since it
// comes back to itself, is too long or names what is not there, is an error: its
// members must not be taken for ones that do not have something.
func Of(t meta.Topology, registry string) (Chain, error) {
	f := follower{topology: t}
	r, ok := t.Registries[registry]
	if !ok {
		return Chain{}, broken("there is no registry %q", registry)
	}
	f.registries = []tenant.RegistryID{r.ID}
	members, err := f.follow(registry, r.Group)
	return Chain{Members: members, Registries: f.registries}, err
}

// follower follows groups.
type follower struct {
	topology   meta.Topology
	path       []string // slugs of the registries whose groups are being followed
	registries []tenant.RegistryID
	count      int
}

func (f *follower) follow(registry, group string) ([]Member, error) {
	if group == "" {
		return nil, nil
	}
	if i := slices.Index(f.path, registry); i >= 0 {
		return nil, broken("the chain comes back to itself: %s", strings.Join(append(f.path[i:], registry), " → "))
	}
	f.path = append(f.path, registry)
	defer func() { f.path = f.path[:len(f.path)-1] }()
	entries, ok := f.topology.Groups[group]
	if !ok {
		return nil, broken("there is no upstream group %q", group)
	}
	members := make([]Member, 0, len(entries))
	for _, entry := range entries {
		if f.count++; f.count > MaxMembers {
			return nil, broken("the chain of registry %q has more than %d members, those of its members' groups included", f.path[0], MaxMembers)
		}
		m, err := f.member(entry)
		if err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	return members, nil
}

func (f *follower) member(entry meta.Member) (Member, error) {
	if entry.Upstream != "" {
		u, ok := f.topology.Upstreams[entry.Upstream]
		if !ok {
			return Member{}, broken("there is no upstream %q", entry.Upstream)
		}
		return Member{Name: "upstreams/" + entry.Upstream, Upstream: &u, entry: entry}, nil
	}
	r, ok := f.topology.Registries[entry.Registry]
	if !ok {
		return Member{}, broken("there is no registry %q", entry.Registry)
	}
	if !slices.Contains(f.registries, r.ID) {
		f.registries = append(f.registries, r.ID)
	}
	members, err := f.follow(entry.Registry, r.Group)
	return Member{Name: "registries/" + entry.Registry, Registry: r.ID, Members: members, entry: entry}, err
}

func broken(format string, args ...any) error {
	return fault.New(fault.Invalid, fault.RequestInvalid, format, args...)
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

// Alone is an upstream that is asked by itself, for all names.
func Alone(u *meta.Upstream) Member {
	return Member{Name: "upstreams/" + u.Slug, Upstream: u}
}
