package chain

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// dockerHub is the canonical host of Docker Hub.
const dockerHub = "docker.io"

// CanonicalHost is the host, with its port if any, in the form in which hosts of
// upstreams are compared: lower case, one spelling of an address, without the port of
// https, and one name for the three of Docker Hub.
func CanonicalHost(host string) string {
	host = strings.ToLower(host)
	if name, err := tenant.NormalizeHost(host); err == nil {
		if port := (&url.URL{Host: host}).Port(); port != "" {
			name += ":" + port
		}
		host = name
	}
	switch host = strings.TrimSuffix(host, ":443"); host {
	case "index.docker.io", "registry-1.docker.io":
		return dockerHub
	default:
		return host
	}
}

// aliases are in canonical form.
func aliases(u *meta.Upstream) []string {
	hosts := make([]string, 0, len(u.Settings.HostAliases))
	for _, alias := range u.Settings.HostAliases {
		hosts = append(hosts, CanonicalHost(alias))
	}
	return hosts
}

// urlHost omits the port of the URL's scheme.
func urlHost(u *meta.Upstream) string {
	parsed, err := url.Parse(u.Settings.URL)
	if err != nil {
		return ""
	}
	if parsed.Scheme == "http" {
		return strings.TrimSuffix(CanonicalHost(parsed.Host), ":80")
	}
	return CanonicalHost(parsed.Host)
}

// hasHost reports whether this canonical host is that of the URL, with or without its
// port.
func hasHost(u *meta.Upstream, host string) bool {
	own := urlHost(u)
	return own == host || strings.HasPrefix(u.Settings.URL, "http://") && own+":80" == host
}

// IsNamed reports whether the host is one of the names of the upstream: an alias, the
// host of its URL, or its slug.
func IsNamed(u *meta.Upstream, host string) bool {
	host = CanonicalHost(host)
	return slices.Contains(aliases(u), host) || hasHost(u, host) || u.Slug == host
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
		func(u *meta.Upstream) bool { return slices.Contains(aliases(u), host) },
		func(u *meta.Upstream) bool { return hasHost(u, host) },
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
// (contract row S73). The caller reaches those below a registry that is checked only with
// the right to pull from it. The chain must be valid for Of.
func Reach(t meta.Topology, registry string, caller Caller) (meta.Topology, error) {
	c, err := Of(t, registry)
	if err != nil {
		return meta.Topology{}, err
	}
	reached := map[string]meta.Upstream{}
	addReached(reached, c.Members, caller)
	for _, slug := range t.Registries[registry].Mirrored {
		if u, ok := t.Upstreams[slug]; ok {
			reached[slug] = u
		}
	}
	t.Upstreams = reached
	return t, nil
}

// Fills reports whether the caller may have content fetched from an upstream that the
// registry names: by its own list, or below members that let the caller. The chain must be
// valid for Of.
func Fills(t meta.Topology, registry, upstream string, caller Caller) bool {
	if slices.Contains(t.Registries[registry].Mirrored, upstream) {
		return true
	}
	c, err := Of(t, registry)
	return err == nil && fills(c.Members, upstream, caller)
}

func fills(members []Member, upstream string, caller Caller) bool {
	return slices.ContainsFunc(members, func(m Member) bool {
		return m.Upstream != nil && m.Upstream.Slug == upstream && m.Rights(caller).Has(access.Fill) || fills(m.Members, upstream, caller)
	})
}

func addReached(reached map[string]meta.Upstream, members []Member, caller Caller) {
	for i := range members {
		if u := members[i].Upstream; u != nil && members[i].Rights(caller).Has(access.Pull) {
			reached[u.Slug] = *u
		}
		addReached(reached, members[i].Members, caller)
	}
}
