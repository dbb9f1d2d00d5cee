package chain

import (
	"github.com/berth-registry/berth/pkg/meta"
)

// Reach is the topology with no upstreams but those that the registry names: in
// its chain, however far down, and in its own list. No others answer below proxy/
// and to ?ns= there: a registry that anybody may pull from must not open what a
// tenant has for other purposes (contract row S73). The chain must be one that Of
// follows to its end.
func Reach(t meta.Topology, registry string) (meta.Topology, error) {
	c, err := Of(t, registry)
	if err != nil {
		return meta.Topology{}, err
	}
	reached := map[string]meta.Upstream{}
	addReached(reached, c.Members)
	for _, slug := range t.Registries[registry].Mirrored {
		if u, ok := t.Upstreams[slug]; ok {
			reached[slug] = u
		}
	}
	t.Upstreams = reached
	return t, nil
}

func addReached(reached map[string]meta.Upstream, members []Member) {
	for i := range members {
		if u := members[i].Upstream; u != nil {
			reached[u.Slug] = *u
		}
		addReached(reached, members[i].Members)
	}
}

// Withholds says whether a member that is asked for the name, as clients say it,
// does not serve callers who are not logged in.
func (c Chain) Withholds(name string) bool { return withholds(c.Members, name) }

func withholds(members []Member, name string) bool {
	for i := range members {
		m := &members[i]
		if !m.Takes(name) {
			continue
		}
		if m.Upstream == nil {
			if withholds(m.Members, name) {
				return true
			}
		} else if _, ok := NameAt(m.Upstream, name); ok && !m.Upstream.Settings.ServesAnonymous() {
			return true
		}
	}
	return false
}
