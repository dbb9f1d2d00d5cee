package credential

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// newClient makes the client for what the operator declares: clouds, their metadata
// servers and token endpoints. It follows no redirect, which could lead a secret away.
func newClient() *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{
		Timeout: defaultTimeout,
		Transport: bounded{&http.Transport{
			Proxy:                  proxyOf,
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    10 * time.Second,
			ResponseHeaderTimeout:  defaultTimeout,
			MaxResponseHeaderBytes: maxReply,
			MaxIdleConns:           16,
			IdleConnTimeout:        30 * time.Second,
			DisableKeepAlives:      true, // requests are rare
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// proxyOf is the proxy of the environment, except for metadata servers, which only
// this machine reaches.
func proxyOf(r *http.Request) (*url.URL, error) {
	if addr, err := netip.ParseAddr(r.URL.Hostname()); err == nil && (addr.IsLinkLocalUnicast() || addr.IsPrivate() || addr.IsLoopback()) {
		return nil, nil //nolint:nilnil // no proxy, as http.Transport has it
	}
	return http.ProxyFromEnvironment(r)
}

// bounded is a transport whose responses have at most maxReply bytes.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxReply), resp.Body}
	}
	return resp, err
}

// tokenReply is the response of a token endpoint (RFC 6749, section 5.1).
type tokenReply struct {
	Access    string          `json:"access_token"`
	Refresh   string          `json:"refresh_token"`
	ExpiresIn json.RawMessage `json:"expires_in"` // seconds, in some replies as a string
}

// expires is when the token does; zero if the reply does not say.
func (t tokenReply) expires() time.Time {
	seconds, err := strconv.ParseFloat(strings.Trim(string(t.ExpiresIn), `"`), 64)
	if err != nil || !(seconds >= 1) {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(min(seconds, maxLife.Seconds()) * float64(time.Second)))
}

// postForm sends a form to a token endpoint, and reads its reply. service names the
// endpoint in errors.
func postForm(ctx context.Context, client *http.Client, service, at string, form url.Values, change func(*http.Request)) (tokenReply, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return tokenReply{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if change != nil {
		change(r)
	}
	return fetchToken(client, service, r)
}

func fetchToken(client *http.Client, service string, r *http.Request) (tokenReply, error) {
	r.Header.Set("Accept", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return tokenReply{}, err
	}
	defer resp.Body.Close()
	if err := refused(resp.StatusCode, service); err != nil {
		return tokenReply{}, err
	}
	var reply tokenReply
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&reply); err != nil {
		return tokenReply{}, errors.New(service + " answered without a token")
	}
	return reply, nil
}
