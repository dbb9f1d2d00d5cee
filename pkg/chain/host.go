package chain

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/meta"
)

// dockerHub is the canonical host of Docker Hub.
const dockerHub = "docker.io"

// CanonicalHost is the host, with its port if any, in the form in which hosts of
// upstreams are compared: lower case, and one name for the three of Docker Hub.
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

// ByHost finds an upstream of the tenant by alias, host or slug. An alias takes
// precedence over the host of the URL. Several upstreams may have the same host,
// with other credentials: then the first by slug is meant.
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

// Reach is the topology with only the upstreams that the registry names, in its
// chain or in its own list. Only they are served below proxy/ and for ?ns=: a
// registry with anonymous pull must not expose upstreams for other purposes
// (contract row S73). The chain must be valid for Of.
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
