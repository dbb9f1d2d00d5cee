package chain

import (
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

// Hosts are all names that the upstream has in proxy/<name>/ and ?ns=, in
// canonical form: the host of its URL and its aliases.
func Hosts(u *meta.Upstream) []string {
	hosts := make([]string, 0, 1+len(u.Settings.HostAliases))
	if parsed, err := url.Parse(u.Settings.URL); err == nil && parsed.Host != "" {
		hosts = append(hosts, CanonicalHost(parsed.Host))
	}
	for _, alias := range u.Settings.HostAliases {
		if alias = CanonicalHost(alias); !slices.Contains(hosts, alias) {
			hosts = append(hosts, alias)
		}
	}
	return hosts
}

// ByHost finds the upstream that the tenant calls by this host or alias. Its slug
// is an alias that another one's alias comes before.
func ByHost(t meta.Topology, host string) (meta.Upstream, bool) {
	host = CanonicalHost(host)
	for _, u := range t.Upstreams {
		if slices.Contains(Hosts(&u), host) {
			return u, true
		}
	}
	u, ok := t.Upstreams[host]
	return u, ok
}
