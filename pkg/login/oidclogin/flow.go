package oidclogin

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/workload"
)

// Flow is one login in a browser.
type Flow struct {
	State, Nonce string
	Verifier     string // of PKCE (RFC 7636)
	Redirect     string // where the issuer sends the browser back to
}

// Answer is what an issuer said of a person.
type Answer struct {
	Person  login.Person
	Refresh string // asks it again; empty where the issuer gave none
}

// String keeps the secret out of logs and dumps.
func (a Answer) String() string { return a.Person.Subject }

// GoString is String.
func (a Answer) GoString() string { return a.String() }

// refusal is why an issuer's answer does not count. It is of the kind Unauthenticated, and its
// text is for the person.
func refusal(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return fault.Wrap(err, fault.Unauthenticated, fault.UnauthorizedReason, "the login by the identity provider does not count: %s", fault.Clip(err.Error()))
}

// Begin returns the URL at the issuer that a browser logs in at.
func (c *Client) Begin(ctx context.Context, f Flow) (string, error) {
	p, err := c.provider(ctx)
	if err != nil {
		return "", err
	}
	return c.config(p, f.Redirect).AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)), nil
}

// Finish exchanges the code with which a browser came back. iss is what the response said of
// its issuer (RFC 9207); where the issuer says that it always does, it must. An answer that does
// not count is fault.Unauthenticated.
func (c *Client) Finish(ctx context.Context, f Flow, code, iss string) (Answer, error) {
	p, err := c.provider(ctx)
	if err != nil {
		return Answer{}, err
	}
	if iss != "" && iss != c.Issuer || iss == "" && p.ResponseIss {
		return Answer{}, refusal("the response is of another issuer")
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	t, err := c.config(p, f.Redirect).Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return Answer{}, c.exchangeFault(err)
	}
	return c.read(ctx, p, t, func(id *oidc.IDToken) error {
		if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(f.Nonce)) != 1 {
			return errors.New("its nonce is that of another login")
		}
		return nil
	})
}

// Refresh asks again by a refresh token. login.ErrGone where the issuer says that it has ended.
// keep gets the refresh token that counts from here on, before anything is made of what the
// issuer says; with used false, the same one, which the issuer cannot have replaced.
func (c *Client) Refresh(ctx context.Context, subject, refresh string, keep func(refresh string, used bool) error) (login.Person, error) {
	p, err := c.provider(ctx)
	if err != nil {
		return login.Person{}, errors.Join(err, keep(refresh, false))
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	t, err := c.config(p, "").TokenSource(ctx, &oauth2.Token{RefreshToken: refresh}).Token()
	var said *oauth2.RetrieveError
	if errors.As(err, &said) && said.ErrorCode == "invalid_grant" {
		return login.Person{}, login.ErrGone
	}
	if err != nil {
		if unused(err) {
			err = errors.Join(err, keep(refresh, false))
		}
		return login.Person{}, down(withoutBody(err))
	}
	if err := keep(t.RefreshToken, true); err != nil {
		return login.Person{}, err
	}
	a, err := c.read(ctx, p, t, func(*oidc.IDToken) error { return nil })
	if err == nil && a.Person.Subject != subject {
		err = errors.New("the issuer answers of another person")
	}
	if err != nil {
		return login.Person{}, down(err)
	}
	return a.Person, nil
}

// unused reports whether the issuer cannot have replaced the refresh token that it was sent.
func unused(err error) bool {
	var said *oauth2.RetrieveError
	var lost *net.OpError
	return errors.As(err, &said) || errors.As(err, &lost) && lost.Op == "dial"
}

// exchangeFault is why an issuer gave no tokens.
func (c *Client) exchangeFault(err error) error {
	var said *oauth2.RetrieveError
	if !errors.As(err, &said) {
		return down(err)
	}
	switch said.ErrorCode {
	case "invalid_grant", "invalid_request", "access_denied", "expired_token":
		return refusal("the issuer refuses it: %s", said.ErrorCode)
	default: // it is not about the person
		return down(withoutBody(err))
	}
}

// withoutBody keeps what a token endpoint answered out of the log.
func withoutBody(err error) error {
	var said *oauth2.RetrieveError
	if !errors.As(err, &said) {
		return err
	}
	return fmt.Errorf("the token endpoint answers with status %d and error %.100q", said.Response.StatusCode, said.ErrorCode)
}

// read finds out of whom the tokens are. What the ID token lacks, the issuer is asked for.
func (c *Client) read(ctx context.Context, p *provider, t *oauth2.Token, check func(*oidc.IDToken) error) (Answer, error) {
	a := Answer{Refresh: t.RefreshToken}
	all, err := c.identified(ctx, p, t, check)
	if err != nil {
		return Answer{}, err
	}
	if a.Person, err = c.person(all); err != nil {
		return Answer{}, refusal("%w", err)
	}
	return a, nil
}

func (c *Client) identified(ctx context.Context, p *provider, t *oauth2.Token, check func(*oidc.IDToken) error) (claims, error) {
	all := claims{}
	raw, given := t.Extra("id_token").(string)
	if given {
		id, err := c.verify(ctx, raw)
		if err == nil {
			err = errors.Join(check(id), id.Claims(&all))
		}
		if err != nil && fault.KindOf(err) == fault.Unavailable {
			return nil, err
		}
		if err != nil {
			return nil, refusal("the ID token is not valid: %w", err)
		}
	} else if check(&oidc.IDToken{}) != nil {
		return nil, refusal("the issuer gave no ID token")
	}
	if given && c.suffice(all) || p.UserInfoEndpoint() == "" {
		return all, nil
	}
	info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(t))
	if err != nil {
		return nil, down(withoutBody(err))
	}
	if given && info.Subject != all.text("sub") {
		return nil, refusal("the userinfo endpoint answers of another person")
	}
	more := claims{}
	if err := info.Claims(&more); err != nil {
		return nil, refusal("%w", err)
	}
	for name, value := range more {
		if _, has := all[name]; !has {
			all[name] = value
		}
	}
	return all, nil
}

// suffice reports whether an ID token says all that is asked for.
func (c *Client) suffice(all claims) bool {
	name := c.Username
	if name == "" {
		name = defaultUsername
	}
	_, groups := all.find(c.Groups)
	return all.text(name) != "" && (c.Groups == "" || groups)
}

// verify checks an ID token (OpenID Connect Core 1.0, section 3.1.3.7).
func (c *Client) verify(ctx context.Context, raw string) (*oidc.IDToken, error) {
	keys := &keySet{Client: c}
	v := oidc.NewVerifier(c.Issuer, keys, &oidc.Config{ClientID: c.ClientID, SupportedSigningAlgs: algorithms, Now: c.Now})
	id, err := v.Verify(ctx, raw)
	if err != nil {
		return nil, cmp.Or(keys.down, err)
	}
	var also struct {
		Party string `json:"azp"`
	}
	if err := id.Claims(&also); err != nil {
		return nil, err
	}
	switch {
	case also.Party != "" && also.Party != c.ClientID, also.Party == "" && len(id.Audience) > 1:
		return nil, errors.New("it is for another client")
	case id.IssuedAt.After(c.Now().Add(workload.Leeway)):
		return nil, errors.New("it is from the future")
	default:
		return id, nil
	}
}

// algorithms are those of keys that an issuer can publish.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// keySet implements oidc.KeySet for one token.
type keySet struct {
	*Client

	down error // the issuer could not be asked for its keys
}

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	said, err := k.keys.Verify(ctx, "", k.Issuer, raw)
	if fault.KindOf(err) == fault.Unavailable {
		k.down = err
	}
	return said, err
}
