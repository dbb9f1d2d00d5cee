// Package oidclogin asks an OpenID Connect issuer who somebody is: after a login in a browser,
// by the code of a device, or by a refresh token.
package oidclogin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/workload"
)

// How an issuer is asked.
const (
	patience   = 8 * time.Second  // for one request
	fresh      = time.Hour        // after which its endpoints are read again
	retryAfter = 10 * time.Second // between two tries to read them
)

// Options are what a Client is made of.
type Options struct {
	Settings

	Named http.RoundTripper // the way to the issuer's host
	Led   http.RoundTripper // the way to other hosts that it names
	Now   func() time.Time
}

// Client asks one issuer. Safe for concurrent use.
type Client struct {
	Options

	http    *http.Client
	keys    *workload.Keys
	reading singleflight.Group

	mu      sync.Mutex
	known   *provider
	triedAt time.Time
	failed  error
}

var _ login.Directory = (*Client)(nil)

// provider is what an issuer publishes of itself.
type provider struct {
	*oidc.Provider

	readAt      time.Time
	Scopes      []string `json:"scopes_supported"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	ResponseIss bool     `json:"authorization_response_iss_parameter_supported"`
}

// New makes a Client, and asks nothing.
func New(o Options) (*Client, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	at, err := url.Parse(o.Issuer)
	if err != nil {
		return nil, err
	}
	by := route{host: at.Host, named: o.Named, led: o.Led}
	return &Client{Options: o, http: workload.NewHTTPClient(by), keys: workload.NewKeys(workload.Config{
		Named: func(string) http.RoundTripper { return o.Named }, Led: o.Led, Now: o.Now,
	})}, nil
}

// route is the way to an issuer and to the hosts that it names, by TLS alone.
type route struct {
	host       string
	named, led http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (r route) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" {
		return nil, errors.New("the issuer leads to a URL that is not https")
	}
	if req.URL.Host == r.host {
		return r.named.RoundTrip(req)
	}
	return r.led.RoundTrip(req)
}

// Authenticate implements login.Directory: no one has a password here.
func (*Client) Authenticate(context.Context, string, string) (login.Person, error) {
	return login.Person{}, login.ErrUnknown()
}

// Find implements login.Directory. An issuer is asked by a refresh token alone; see Refresh.
func (*Client) Find(context.Context, string) (login.Person, error) {
	return login.Person{}, fault.New(fault.Unavailable, fault.UnavailableReason, "issuers are asked by refresh tokens")
}

// within is a context for one request to the issuer.
func (c *Client) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	return oidc.ClientContext(ctx, c.http), cancel
}

// provider reads what the issuer publishes, once for all that wait. What was read before counts
// while the issuer cannot be asked.
func (c *Client) provider(ctx context.Context) (*provider, error) {
	c.mu.Lock()
	known, tried, failed := c.known, c.triedAt, c.failed
	c.mu.Unlock()
	now := c.Now()
	if known != nil && now.Sub(known.readAt) < fresh {
		return known, nil
	}
	if now.Sub(tried) >= retryAfter {
		done := c.reading.DoChan("", func() (any, error) { return c.discover(context.WithoutCancel(ctx)) })
		select {
		case <-ctx.Done():
			return nil, fault.From(ctx.Err())
		case r := <-done:
			if r.Err == nil {
				return r.Val.(*provider), nil
			}
			failed = r.Err
		}
	}
	if known != nil {
		return known, nil
	}
	return nil, down(failed)
}

func (c *Client) discover(ctx context.Context) (*provider, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	p := &provider{readAt: c.Now()}
	made, err := oidc.NewProvider(ctx, c.Issuer)
	if err == nil {
		p.Provider = made
		err = errors.Join(made.Claims(p), p.check())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.triedAt, c.failed = p.readAt, err; err != nil {
		return nil, err
	}
	c.known = p
	return p, nil
}

// check refuses endpoints that people or secrets must not be sent to.
func (p *provider) check() error {
	for _, at := range []string{p.Endpoint().AuthURL, p.Endpoint().TokenURL} {
		if u, err := url.Parse(at); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return errors.New("the issuer has no authorization_endpoint or token_endpoint with https")
		}
	}
	return nil
}

// config is what the issuer is asked with for tokens.
func (c *Client) config(p *provider, redirect string) *oauth2.Config {
	scopes := []string{oidc.ScopeOpenID, "profile"}
	if slices.Contains(p.Scopes, oidc.ScopeOfflineAccess) {
		scopes = append(scopes, oidc.ScopeOfflineAccess)
	}
	for _, s := range c.Scopes {
		if !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	at := p.Endpoint()
	at.AuthStyle = oauth2.AuthStyleInHeader
	if c.ClientSecret == "" || len(p.AuthMethods) > 0 && !slices.Contains(p.AuthMethods, "client_secret_basic") {
		at.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{ClientID: c.ClientID, ClientSecret: c.ClientSecret, Endpoint: at, RedirectURL: redirect, Scopes: scopes}
}

// down is an outage of the issuer, which says nothing of anyone. Its cause may quote the issuer.
func down(cause error) error {
	const longest = 300
	return fault.Down(errors.New(fault.ClipTo(cause.Error(), longest)), "the identity provider").WithRetryAfter(retryAfter)
}
