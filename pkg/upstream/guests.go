package upstream

import (
	"net/url"

	lru "github.com/hashicorp/golang-lru/v2"
)

// mostGuestTokens is how many tokens are kept for each registry that the upstream
// redirects to.
const mostGuestTokens = 32

// guests are the registries that an upstream redirects to, as lscr.io does to ghcr.io.
// There the client has no credential and uses anonymous tokens (contract row T6).
type guests struct {
	hosts *lru.Cache[string, *authState] // by scheme and host
}

func newGuests() *guests {
	return &guests{hosts: newLRU[string, *authState](mostHosts, nil)}
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// at returns the state of the host, or makes it.
func (g *guests) at(c *Client, u *url.URL) *authState {
	fresh := newAuthState(c, mostGuestTokens)
	fresh.guest, fresh.source = true, nil
	if known, ok, _ := g.hosts.PeekOrAdd(originOf(u), fresh); ok {
		return known
	}
	return fresh
}

// token is the cached Authorization of the host for the repository; empty for none.
func (g *guests) token(u *url.URL, name string) string {
	known, ok := g.hosts.Get(originOf(u))
	if !ok || name == "" {
		return ""
	}
	t, ok := known.cached(name, "")
	if !ok {
		return ""
	}
	return t.login().header
}
