package workload

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of what issuers publish.
const (
	maxDocument  = 512 << 10 // bytes
	maxKeys      = 100
	maxRedirects = 3
	minRSA       = 2048 // bits
	maxRSA       = 8192
	maxIssuerURL = 500 // bytes
)

// discovery reads the keys of issuers (OpenID Connect Discovery 1.0).
type discovery struct {
	named func(tenantSlug string) http.RoundTripper // to issuers, of a tenant
	led   http.RoundTripper                         // to other hosts, that issuers name
}

// CheckIssuer checks the URL of an issuer, without asking it. Errors are fault.Invalid.
func CheckIssuer(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return refused("it is missing; it is the https URL that tokens have in iss, such as https://token.actions.githubusercontent.com")
	case len(raw) > maxIssuerURL:
		return refused("%d bytes exceed the maximum of %d", len(raw), maxIssuerURL)
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.String() != raw:
		return refused("%q is not an https URL without user, query and fragment, as issuers have", raw)
	default:
		return nil
	}
}

// keys are those that an issuer signs with now.
func (d discovery) keys(ctx context.Context, of issuer) ([]jose.JSONWebKey, error) {
	var provider struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	at := strings.TrimSuffix(of.url, "/") + "/.well-known/openid-configuration"
	if err := d.document(ctx, d.named(of.tenant), at, &provider); err != nil {
		return nil, err
	}
	if provider.Issuer != of.url {
		return nil, fmt.Errorf("%s is of the issuer %.200q", at, provider.Issuer)
	}
	from, err := url.Parse(provider.Keys)
	if err != nil || from.Scheme != "https" || from.Hostname() == "" || from.User != nil {
		return nil, fmt.Errorf("%s: jwks_uri %.200q is not an https URL", at, provider.Keys)
	}
	by := d.led
	if own, err := url.Parse(of.url); err == nil && own.Host == from.Host {
		by = d.named(of.tenant)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := d.document(ctx, by, provider.Keys, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%s has %d keys, more than %d", provider.Keys, len(set.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		// Of a kind that is not known here, for another use, or weak: no token is verified by it.
		if key.UnmarshalJSON(raw) == nil && verifies(key) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no key that verifies tokens", provider.Keys)
	}
	return keys, nil
}

// verifies reports whether a key is one for signatures of tokens.
func verifies(key jose.JSONWebKey) bool {
	if !key.IsPublic() || !key.Valid() || key.Use != "" && key.Use != "sig" {
		return false
	}
	if k, ok := key.Key.(*rsa.PublicKey); ok {
		return k.N.BitLen() >= minRSA && k.N.BitLen() <= maxRSA
	}
	return true
}

// NewHTTPClient makes a client for what issuers publish: it follows redirects within their host
// alone, and fails on bodies that are longer than such documents are.
func NewHTTPClient(by http.RoundTripper) *http.Client {
	return &http.Client{Transport: bounded{by}, CheckRedirect: withinHost}
}

// bounded is a way to issuers that bounds their documents.
type bounded struct{ by http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.by.RoundTrip(r)
	if err == nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxDocument}
	}
	return resp, err
}

// boundedBody fails after a number of bytes.
type boundedBody struct {
	io.ReadCloser

	left int
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)])
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("the document has more than %d bytes", maxDocument)
	}
	return n, err
}

// document reads a JSON document into v.
func (d discovery) document(ctx context.Context, by http.RoundTripper, at string, v any) error {
	client := NewHTTPClient(by)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "berth")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d", at, resp.StatusCode)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read %s: %w", at, err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

// withinHost keeps a redirect at the host that was asked.
func withinHost(req *http.Request, via []*http.Request) error {
	switch first := via[0].URL; {
	case len(via) > maxRedirects:
		return errors.New("too many redirects")
	case req.URL.Scheme != first.Scheme || req.URL.Host != first.Host:
		return fmt.Errorf("a redirect to another host, %.200q", req.URL.Host)
	default:
		return nil
	}
}
