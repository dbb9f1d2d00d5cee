package upstream

import (
	"net/url"

	lru "github.com/hashicorp/golang-lru/v2"
)

// mostGuestTokens is how many tokens are remembered of a registry that the upstream
// leads to.
const mostGuestTokens = 32

// guests are the registries that an upstream leads to, as lscr.io does to ghcr.io. There
// the client has no credential: it takes the tokens that everybody gets (contract row T6).
type guests struct {
	hosts *lru.Cache[string, *authState] // by scheme and host
}

func newGuests() *guests {
	hosts, err := lru.New[string, *authState](mostHosts)
	if err != nil {
		panic("upstream: " + err.Error()) // only a size below 1 is refused
	}
	return &guests{hosts: hosts}
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// at returns what is known of the host, which may be nothing yet.
func (g *guests) at(c *Client, u *url.URL) *authState {
	fresh := newAuthState(c, mostGuestTokens)
	fresh.guest, fresh.ecr = true, nil
	if known, ok, _ := g.hosts.PeekOrAdd(originOf(u), fresh); ok {
		return known
	}
	return fresh
}

// token is the Authorization for the repository that the host gave before; empty for none.
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
