package upstream

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/berth-registry/berth/pkg/ttlcache"
)

// greeting is what a host answers at /v2/ (distribution-spec, "Determining Support"),
// asked without a credential.
type greeting struct {
	isRegistry bool        // it answers as a registry does
	offers     []challenge // of the host itself
	lasts      bool        // it says what the host wants, and not that it is away
}

const (
	// greetingLife is how long a greeting counts. It is short: that the registry was
	// there a while ago does not say who answers now.
	greetingLife = 5 * time.Second
	// greetingPatience is less than that of a load of ttlcache, so that the error says
	// that the host is slow.
	greetingPatience = 4 * time.Second
	// mostHosts is how many hosts a client remembers: the upstream's own, and those
	// that it leads to.
	mostHosts = 16
)

func newGreetings(c *Client) *ttlcache.Cache[url.URL, greeting] {
	return ttlcache.New(ttlcache.Options[url.URL, greeting]{Size: mostHosts, Now: time.Now, Life: greetingLife, Load: c.askGreeting})
}

// greet returns how the host of u greets.
func (c *Client) greet(ctx context.Context, u *url.URL) (greeting, error) {
	g, err := c.greetings.Get(ctx, url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/v2/"})
	if ctx.Err() != nil {
		return greeting{}, c.failed(ctx, ctx.Err())
	}
	return g, err
}

func (c *Client) askGreeting(ctx context.Context, at url.URL) (greeting, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, min(greetingPatience, c.owner.limits.token), errSlow)
	defer cancel()
	resp, away, err := c.follow(ctx, outRequest{method: http.MethodGet, url: &at, header: hopHeader(ctx, ""), led: !c.names(&at)})
	if err != nil {
		return greeting{}, err
	}
	page := isPage(resp.Header, c.readError(resp))
	status := resp.StatusCode
	g := greeting{
		isRegistry: status == http.StatusOK && !page || status == http.StatusUnauthorized && offersLogin(resp.Header),
		lasts:      status < http.StatusInternalServerError && status != http.StatusTooManyRequests && !page,
	}
	if status == http.StatusUnauthorized && !away {
		g.offers = parseChallenges(resp.Header.Values("Www-Authenticate"))
	}
	return g, nil
}

// offersLogin says whether an answer names a way in that registries have.
func offersLogin(h http.Header) bool {
	offered := parseChallenges(h.Values("Www-Authenticate"))
	_, bearer := pick(offered, "bearer")
	_, basic := pick(offered, "basic")
	return bearer || basic
}

// isPage says whether an answer is for people: HTML, or XML as stores of files send it.
func isPage(h http.Header, body []byte) bool {
	switch mediaTypeOf(h) {
	case "text/html", "application/xhtml+xml":
		return true
	default:
		return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n\ufeff"), []byte("<"))
	}
}
