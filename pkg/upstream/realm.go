package upstream

import (
	"net/netip"
	"net/url"
	"slices"
)

// realm is the token endpoint, if the credential may be sent there: the upstream itself, a host in
// auth_hosts, or a host known to belong to the upstream (contract E4). A client with a credential
// asks no other host: an anonymous token may show less than the tenant may read.
func (l *authState) realm(raw string) (*url.URL, error) {
	c := l.client
	u, problem := parseURL(raw)
	if problem == "" && c.base.Scheme == "https" && u.Scheme != "https" {
		problem = "is not https"
	}
	if problem != "" {
		return nil, c.outage(nil, "names a token endpoint that cannot be used: its URL %s", problem)
	}
	u.Fragment, u.RawFragment = "", ""
	if c.inside.Load() && !c.names(u) {
		return nil, c.outage(nil, "names a token endpoint on another host, from a network that is not public: if that is right, add this host to auth_hosts")
	}
	if !l.anonymous() && !sameOrigin(u, c.base) && !pinned(u, c.base) && !c.mayGetCredential(u) {
		if h := c.config.Helper; h != nil {
			return nil, c.outage(nil, "wants the credential of its helper %q sent to another host: if that is right, the operator must add it to the helper's hosts", h.Name)
		}
		if _, err := netip.ParseAddr(u.Hostname()); err == nil {
			return nil, c.outage(nil, "wants its credential sent to an address that is not in auth_hosts")
		}
		return nil, c.outage(nil, "wants its credential sent to %q: if that is right, add this host to auth_hosts", u.Host)
	}
	return u, nil
}

// mayGetCredential reports whether the configuration allows the credential at another
// host: that of the upstream's tenant, or for a helper's credential that of the operator.
func (c *Client) mayGetCredential(u *url.URL) bool {
	if c.config.Helper != nil {
		return c.config.Helper.Lists(u)
	}
	return slices.ContainsFunc(c.config.AuthHosts, isHost(u))
}

// isHost compares with a configured host; without a port it has that of the scheme.
func isHost(u *url.URL) func(string) bool {
	return func(s string) bool {
		v, problem := parseURL(u.Scheme + "://" + s)
		return problem == "" && v.Host == u.Host && v.Path == ""
	}
}

// The registries that issue tokens at another host. Those of GitHub, Quay, Google,
// Microsoft, AWS public and Red Hat use their own host; self-managed GitLab uses
// one that only the tenant knows.
const (
	hubHost    = "registry-1.docker.io"
	hubAuth    = "auth.docker.io"
	gitlabHost = "registry.gitlab.com"
	gitlabAuth = "gitlab.com"
)

func pinned(realm, base *url.URL) bool {
	if realm.Scheme != "https" || base.Scheme != "https" {
		return false
	}
	return base.Host == hubHost && realm.Host == hubAuth || base.Host == gitlabHost && realm.Host == gitlabAuth
}
