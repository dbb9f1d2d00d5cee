package upstream

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"

	"github.com/berth-registry/berth/pkg/credential"
	"github.com/berth-registry/berth/pkg/fault"
)

// loginSource obtains the credential of an upstream where the configuration does not have
// it as it is sent.
type loginSource interface {
	Find(ctx context.Context, r credential.Registry) (credential.Credential, error)
	// Forget drops a credential that the upstream refused.
	Forget(r credential.Registry, refused credential.Credential)
}

// newLoginSource returns the operator's helper, or for ECR one that turns an access key
// into the registry's password. It returns nil if the credential is sent unchanged: to
// other registries, and for the user "AWS", whose password is already that of the
// registry.
func newLoginSource(c *Client) loginSource {
	if c.config.Helper != nil {
		return c.config.Helper
	}
	region, ok := credential.Region(c.base.Hostname())
	if !ok || c.config.anonymous() || c.config.Username == "AWS" {
		return nil
	}
	return credential.NewECRKey(c.config.Username, c.config.Password, region, c.owner.ecrURL, c.ways.named)
}

// obtain is the login of the source.
func (l *authState) obtain(ctx context.Context) (login, error) {
	found, err := l.source.Find(ctx, l.client.asRegistry())
	if err != nil {
		return login{}, l.client.noCredential(ctx, err)
	}
	got := login{taken: found.Taken, found: found}
	if !found.Refresh {
		got.header = "Basic " + base64.StdEncoding.EncodeToString([]byte(found.Username+":"+found.Secret))
	}
	return got, nil
}

// replaces reports whether a token endpoint refused the credential of a source, and
// another one is due. It drops the refused one.
func (l *authState) replaces(resp *http.Response, refused login, away bool) bool {
	status := resp.StatusCode
	if l.source == nil || away || status != http.StatusUnauthorized && status != http.StatusForbidden || !l.mayRenew(refused) {
		return false
	}
	l.source.Forget(l.client.asRegistry(), refused.found)
	return true
}

// asRegistry is the upstream for a source, which must reach it only as the client does.
func (c *Client) asRegistry() credential.Registry {
	return credential.Registry{URL: c.base, Transport: c.ways.named}
}

// noCredential is the error of an upstream without its credential: a denial if that was
// refused, else an outage.
func (c *Client) noCredential(ctx context.Context, err error) *Error {
	if ctx.Err() != nil || errors.Is(err, errForbidden) {
		return c.failed(ctx, err)
	}
	e := c.outage(err, "has an API for passwords that failed")
	if h := c.config.Helper; h != nil {
		e = c.outage(err, "was not asked, because its credential helper %q failed: its operator finds the reason in the log", h.Name)
	}
	var known *fault.Error
	if !errors.As(err, &known) {
		return e
	}
	switch known.Kind {
	case fault.Denied:
		c.denied(e)
	case fault.TooMany:
		c.rateLimited(e)
	}
	return e
}

// helperName is the name of the operator's helper; empty for none.
func (c Config) helperName() string {
	if c.Helper == nil {
		return ""
	}
	return c.Helper.Name
}
