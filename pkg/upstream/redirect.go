package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-registry/berth/pkg/ocihttp"
)

const maxRedirects = 5

// outRequest is one request with all its redirects.
type outRequest struct {
	method string
	url    *url.URL
	header http.Header // sent to every host
	auth   string      // Authorization, only for the host of url
	name   string      // of the repository, if it is about one
	only   string      // end of a path of registries that redirects to other hosts must keep; empty: any
	led    bool        // a response named the host of url, not the configuration
	paid   bool        // the pace has counted its first request
	form   url.Values  // the body, if any; such a request is never redirected
}

// errRedirect is the cause for a redirect that is not followed.
var errRedirect = errors.New("redirect")

// follow sends the request and follows redirects by its own rules (contract E3, E5).
// Its second result, away, says whether another host responded. Once a chain of
// redirects has left the host, no credential is sent any more, even if it returns.
// Other hosts get only anonymous tokens that they issued.
func (c *Client) follow(ctx context.Context, t outRequest) (*http.Response, bool, error) {
	at, away, led := t.url, false, t.led
	for redirects := 0; ; redirects++ {
		req := &http.Request{
			Method: t.method, URL: at, Host: at.Host, Header: t.header.Clone(),
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		}
		if !away && !led && sameOrigin(at, c.base) {
			for name, value := range c.config.Headers {
				req.Header.Set(name, value)
			}
		}
		if !led && (redirects > 0 || !t.paid) {
			c.pace.Reserve() // later questions wait for it
		}
		auth := t.auth
		if away {
			auth = c.guests.token(at, t.name)
		}
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		if t.form != nil {
			body := t.form.Encode()
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		inside := false // of a network that is not public
		traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
			inside = isInside(i.Conn)
		}})
		resp, err := c.transport(at, led).RoundTrip(req.WithContext(traced))
		if err != nil {
			return nil, away, c.failed(ctx, err)
		}
		if !led {
			c.inside.Store(inside)
		}
		if !isRedirect(resp.StatusCode) {
			return resp, away, nil
		}
		discard(resp)
		next, problem := target(at, resp.Header.Get("Location"))
		switch {
		case problem != "":
		case redirects == maxRedirects:
			problem = "leads from host to host without end"
		case t.form != nil:
			problem = "redirects a request that has its credential"
		case t.only != "" && !sameOrigin(next, t.url) && !isRegistryPath(next.Path, t.only):
			e := c.outage(errRedirect, "leads to another host")
			e.Status, e.elsewhere = resp.StatusCode, true
			return nil, away, e
		case inside && !c.names(next):
			problem = "leads from a network that is not public to another host: if that is right, add this host to auth_hosts"
		}
		if problem != "" {
			e := c.outage(errRedirect, "%s", problem)
			e.Status = resp.StatusCode
			return nil, away, e
		}
		away = away || !sameOrigin(next, t.url)
		at, led = next, !c.names(next)
	}
}

// isRegistryPath reports whether path is that of a registry's resource.
func isRegistryPath(path, resource string) bool {
	return strings.HasPrefix(path, "/v2/") && strings.HasSuffix(path, "/"+resource)
}

// names reports whether the configuration names the host: as the upstream's, at any
// port, or in auth_hosts.
func (c *Client) names(u *url.URL) bool {
	return u.Hostname() == c.base.Hostname() || slices.ContainsFunc(c.config.AuthHosts, isHost(u))
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	default:
		return false
	}
}

// target is the URL of a redirect, or why it is not followed.
func target(from *url.URL, location string) (*url.URL, string) {
	if location == "" {
		return nil, "redirects to nowhere"
	}
	u, err := from.Parse(location)
	if err != nil {
		return nil, "redirects to an invalid URL"
	}
	u.Fragment, u.RawFragment = "", ""
	next, problem := parseURL(u.String())
	switch {
	case problem != "":
		return nil, "redirects to a URL that " + problem
	case from.Scheme == "https" && next.Scheme != "https":
		return nil, "redirects away from https"
	}
	return next, ""
}

// discard closes a response whose body does not matter. It reads a short body, so
// that the connection can be reused.
func discard(resp *http.Response) {
	const short = 4 << 10
	_, _ = io.CopyN(io.Discard, resp.Body, short)
	_ = resp.Body.Close()
}

// hopHeader is the header of every request of a chain of redirects.
func hopHeader(ctx context.Context, accept string) http.Header {
	h := http.Header{}
	h.Set("User-Agent", "berth")
	// Some hosts compress unless told not to.
	h.Set("Accept-Encoding", "identity")
	h.Set(ocihttp.HeaderHops, strconv.Itoa(hopsOf(ctx)+1))
	if accept != "" {
		h.Set("Accept", accept)
	}
	return h
}
