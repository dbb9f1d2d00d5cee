package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	"github.com/berth-registry/berth/pkg/ocihttp"
)

const maxRedirects = 5

// outRequest is one request with all redirects that it leads to.
type outRequest struct {
	method string
	url    *url.URL
	header http.Header // sent to every host
	auth   string      // Authorization: for the host of url alone
	name   string      // of the repository, if it is about one
	stay   bool        // a redirect to another host is an answer
	led    bool        // an answer named the host of url, and not the configuration
}

// errRedirect is the cause of a redirect that is not followed.
var errRedirect = errors.New("redirect")

// follow sends the request and follows redirects, by rules of its own (contract
// E3, E5). away says whether the answer is of another host than was asked: once
// a chain has left that host, it is a stranger's for good, and no credential is
// sent any more even if it comes back. What may be sent to such a host is a token that
// it gave to a caller without credential.
func (c *Client) follow(ctx context.Context, t outRequest) (*http.Response, bool, error) {
	at, away, led := t.url, false, t.led
	for redirects := 0; ; redirects++ {
		req := &http.Request{
			Method: t.method, URL: at, Host: at.Host, Header: t.header.Clone(),
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		}
		auth := t.auth
		if away {
			auth = c.guests.token(at, t.name)
		}
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		inside := false // of a network that is not public
		traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
			peer, err := netip.ParseAddrPort(i.Conn.RemoteAddr().String())
			inside = err != nil || !isPublic(peer.Addr())
		}})
		resp, err := c.owner.transportOf(c.config.Tenant, led).RoundTrip(req.WithContext(traced))
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
		case t.stay && !sameOrigin(next, t.url):
			problem = "leads to another host"
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

// names says whether the upstream's configuration names the host: as its own, at
// any port, or in auth_hosts.
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

// target is where a redirect leads to, or why it is not followed.
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

// discard ends an answer whose body does not matter. A short body is read, so
// that the connection can be used again.
func discard(resp *http.Response) {
	const short = 4 << 10
	_, _ = io.CopyN(io.Discard, resp.Body, short)
	_ = resp.Body.Close()
}

// hopHeader is what every request of a chain carries.
func hopHeader(ctx context.Context, accept string) http.Header {
	h := http.Header{}
	h.Set("User-Agent", "berth")
	// Some hosts compress what they are not told not to.
	h.Set("Accept-Encoding", "identity")
	h.Set(ocihttp.HeaderHops, strconv.Itoa(hopsOf(ctx)+1))
	if accept != "" {
		h.Set("Accept", accept)
	}
	return h
}
