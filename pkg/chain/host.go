package chain

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/meta"
)

// dockerHub is the host that all names of Docker Hub stand for.
const dockerHub = "docker.io"

// CanonicalHost is the host, with its port if it has one, in the form that hosts
// of upstreams are compared in: lower case, and one name for Docker Hub, which
// clients know by three.
func CanonicalHost(host string) string {
	host = strings.ToLower(host)
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return dockerHub
	default:
		return host
	}
}

// Hosts are the names that the upstream has in proxy/<name>/ and ?ns=, in
// canonical form: its aliases, and then the host of its URL.
func Hosts(u *meta.Upstream) []string {
	hosts := make([]string, 0, len(u.Settings.HostAliases)+1)
	for _, alias := range u.Settings.HostAliases {
		hosts = append(hosts, CanonicalHost(alias))
	}
	return append(hosts, urlHost(u))
}

func urlHost(u *meta.Upstream) string {
	parsed, err := url.Parse(u.Settings.URL)
	if err != nil {
		return ""
	}
	return CanonicalHost(parsed.Host)
}

// ByHost finds the upstream that the tenant calls by this name. One that has it
// as an alias goes before one that is at that host, of which there may be
// several, with other credentials: the first by its slug is meant then. The slug
// is a name, too.
func ByHost(t meta.Topology, host string) (meta.Upstream, bool) {
	host = CanonicalHost(host)
	if host == "" {
		return meta.Upstream{}, false
	}
	slugs := slices.Sorted(maps.Keys(t.Upstreams))
	for _, has := range []func(u *meta.Upstream) bool{
		func(u *meta.Upstream) bool { return slices.Contains(Hosts(u)[:len(u.Settings.HostAliases)], host) },
		func(u *meta.Upstream) bool { return urlHost(u) == host },
		func(u *meta.Upstream) bool { return u.Slug == host },
	} {
		for _, slug := range slugs {
			if u := t.Upstreams[slug]; has(&u) {
				return u, true
			}
		}
	}
	return meta.Upstream{}, false
}

// Reach is the topology with no upstreams but those that the registry names: in
// its chain, however far down, and in its own list. No others answer below proxy/
// and to ?ns= there: a registry that allows anonymous pull must not open what a
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
