package upstream

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/berth-registry/berth/pkg/ttlcache"
)

// greeting is a host's response at /v2/ (distribution-spec, "Determining Support") to
// a request without a credential.
type greeting struct {
	isRegistry bool        // the response is that of a registry
	offers     []challenge // of the host itself
	lasts      bool        // not a temporary failure
}

const (
	// greetingLife is how long a greeting counts. It is short because a registry may
	// be replaced by an error page at any time.
	greetingLife = 5 * time.Second
	// greetingPatience is less than the timeout of a ttlcache load, so that the error
	// says that the host is slow.
	greetingPatience = 4 * time.Second
	// mostHosts is how many hosts a client remembers: the upstream's own, and those
	// that it redirects to.
	mostHosts = 16
)

func newGreetings(c *Client) *ttlcache.Cache[url.URL, greeting] {
	return ttlcache.New(ttlcache.Options[url.URL, greeting]{
		Size: mostHosts, Now: time.Now, Life: greetingLife, Load: c.askGreeting,
		// A host that does not answer is not asked again by each request.
		Misses: mostHosts, IsMiss: func(error) bool { return true },
	})
}

// greet returns the greeting of the host of u.
func (c *Client) greet(ctx context.Context, u *url.URL) (greeting, error) {
	g, err := c.greetings.Get(ctx, url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/v2/"})
	if ctx.Err() != nil {
		return greeting{}, c.failed(ctx, ctx.Err())
	}
	return g, err
}

func (c *Client) askGreeting(ctx context.Context, at url.URL) (greeting, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, min(greetingPatience, c.limits.token), errSlow)
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

// offersLogin reports whether a response has a challenge that registries use.
func offersLogin(h http.Header) bool {
	offered := parseChallenges(h.Values("Www-Authenticate"))
	_, bearer := pick(offered, "bearer")
	_, basic := pick(offered, "basic")
	return bearer || basic
}

// isPage reports whether a response is a page for people: HTML, or the XML of
// object stores.
func isPage(h http.Header, body []byte) bool {
	switch mediaTypeOf(h) {
	case "text/html", "application/xhtml+xml":
		return true
	default:
		return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n\ufeff"), []byte("<"))
	}
}
