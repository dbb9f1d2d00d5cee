package oidclogin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/berth-registry/berth/pkg/fault"
)

// Bounds of what an issuer says of the login of a device.
const (
	maxDeviceCode   = 2048 // bytes
	maxUserCode     = 64   // bytes
	maxVerification = 1024 // bytes of a URL
	maxDeviceLife   = 30 * time.Minute

	defaultInterval = 5 * time.Second // RFC 8628, section 3.2
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// Device is the login of a device without a browser (RFC 8628, section 3.2).
type Device struct {
	Code            string // asks the issuer; a secret
	UserCode        string // that the person types
	Verification    string // URL at which the person logs in
	VerificationAll string // the same with the code; may be empty
	Interval, Life  time.Duration
}

// String keeps the secret out of logs and dumps.
func (d Device) String() string { return d.Verification }

// GoString is String.
func (d Device) GoString() string { return d.String() }

// DeviceState is the error of a login of a device that has not ended well (RFC 8628, section 3.5).
type DeviceState string

// The states of logins of devices.
const (
	DevicePending  DeviceState = "authorization_pending"
	DeviceSlowDown DeviceState = "slow_down"
	DeviceDenied   DeviceState = "access_denied"
	DeviceExpired  DeviceState = "expired_token"
)

// Error implements error.
func (s DeviceState) Error() string { return string(s) }

// BeginDevice begins the login of a device at the issuer. fault.Conflict where the issuer has no
// such logins, or not for this client.
func (c *Client) BeginDevice(ctx context.Context) (Device, error) {
	p, err := c.provider(ctx)
	if err != nil {
		return Device{}, err
	}
	config := c.config(p, "")
	if config.Endpoint.DeviceAuthURL == "" {
		return Device{}, fault.New(fault.Conflict, fault.UnsupportedReason, "the issuer has no logins of devices (device_authorization_endpoint); log in with a browser")
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	client := *c.http
	client.Transport = deviceWay{client.Transport, ctx, config}
	var secret []oauth2.AuthCodeOption
	if c.ClientSecret != "" && config.Endpoint.AuthStyle == oauth2.AuthStyleInParams {
		secret = append(secret, oauth2.SetAuthURLParam("client_secret", c.ClientSecret))
	}
	said, err := config.DeviceAuth(oidc.ClientContext(ctx, &client), secret...)
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && slices.Contains([]string{"unauthorized_client", "unsupported_grant_type", "invalid_scope"}, refused.ErrorCode) {
		return Device{}, fault.Wrap(withoutBody(err), fault.Conflict, fault.UnsupportedReason, "the issuer lets no devices log in by this client: %s; log in with a browser", refused.ErrorCode)
	}
	if err != nil {
		return Device{}, down(withoutBody(err))
	}
	d := Device{
		Code: said.DeviceCode, UserCode: said.UserCode, Verification: said.VerificationURI, VerificationAll: said.VerificationURIComplete,
		Interval: defaultInterval, Life: maxDeviceLife,
	}
	if said.Interval > 0 {
		d.Interval = time.Duration(min(said.Interval, int64(maxDeviceLife.Seconds()))) * time.Second
	}
	if !said.Expiry.IsZero() {
		d.Life = min(maxDeviceLife, time.Until(said.Expiry))
	}
	if err := d.check(); err != nil {
		return Device{}, down(err)
	}
	return d, nil
}

// check refuses what a person must not be shown in a terminal, and what is too long to be kept.
func (d Device) check() error {
	switch {
	case d.Code == "" || len(d.Code) > maxDeviceCode || !isASCII(d.Code):
		return errors.New("the issuer's device_code is missing or too long")
	case d.UserCode == "" || len(d.UserCode) > maxUserCode || !isASCII(d.UserCode):
		return errors.New("the issuer's user_code is missing or too long")
	case d.Life <= 0:
		return errors.New("the issuer's device_code has expired")
	case !isPage(d.Verification) || d.VerificationAll != "" && !isPage(d.VerificationAll):
		return errors.New("the issuer's verification_uri is no URL with https")
	default:
		return nil
	}
}

func isPage(at string) bool {
	u, err := url.Parse(at)
	return err == nil && len(at) <= maxVerification && isASCII(at) && u.Scheme == "https" && u.Host != "" && u.User == nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// deviceWay authenticates the client at the device_authorization_endpoint (RFC 8628, section 3.1),
// and ends with the context; the library does neither.
type deviceWay struct {
	http.RoundTripper

	ctx    context.Context //nolint:containedctx // of the one request
	config *oauth2.Config
}

// RoundTrip implements http.RoundTripper.
func (w deviceWay) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(w.ctx)
	if w.config.Endpoint.AuthStyle == oauth2.AuthStyleInHeader && r.URL.String() == w.config.Endpoint.DeviceAuthURL {
		r.SetBasicAuth(url.QueryEscape(w.config.ClientID), url.QueryEscape(w.config.ClientSecret)) // RFC 6749, section 2.3.1
	}
	return w.RoundTripper.RoundTrip(r)
}

// FinishDevice asks the issuer once whether the person has logged in. A DeviceState says why not;
// an answer that does not count is fault.Unauthenticated.
func (c *Client) FinishDevice(ctx context.Context, code string) (Answer, error) {
	p, err := c.provider(ctx)
	if err != nil {
		return Answer{}, err
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	// DeviceAccessToken of the library asks until the login ends; here the device says when.
	t, err := c.config(p, "").Exchange(ctx, "", oauth2.SetAuthURLParam("grant_type", deviceGrant), oauth2.SetAuthURLParam("device_code", code))
	var said *oauth2.RetrieveError
	if errors.As(err, &said) {
		switch state := DeviceState(said.ErrorCode); state {
		case DevicePending, DeviceSlowDown, DeviceDenied, DeviceExpired:
			return Answer{}, state
		}
	}
	if err != nil {
		return Answer{}, c.exchangeFault(err)
	}
	return c.read(ctx, p, t, func(id *oidc.IDToken) error { // no nonce was asked for
		if id.Subject == "" {
			return errors.New("it has no sub")
		}
		return nil
	})
}
