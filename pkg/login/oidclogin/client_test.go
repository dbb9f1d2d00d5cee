package oidclogin_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/login/oidclogin"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestV71_AnIssuerSaysWhoSomebodyIs in the ID token, or at its userinfo endpoint.
func TestV71_AnIssuerSaysWhoSomebodyIs(t *testing.T) {
	w := newWorld(t)
	for _, inToken := range []bool{false, true} {
		w.issuer.ClaimsInToken(inToken)
		a := w.wantIn()
		if p := a.Person; p.Subject != "s-max" || p.Name != "Max" || p.DisplayName == "" || !slices.Equal(p.Groups, []string{"dev", "staff"}) || p.Email != "" || a.Refresh == "" {
			t.Errorf("in the token %t: %+v", inToken, a.Person)
		}
		if text := fmt.Sprintf("%v %+v %#v", a, a, a); strings.Contains(text, a.Refresh) {
			t.Errorf("%s", text)
		}
	}
	if p, err := w.client.Authenticate(t.Context(), "Max", "password"); !fault.Is(err, fault.ResourceUnknown) {
		t.Errorf("by a password: %+v, %v", p, err)
	}
	if _, err := w.client.Find(t.Context(), "s-max"); fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	public := w.open(oidclogin.Settings{Issuer: w.issuer.URL, ClientID: testserver.OpenIDClient})
	if _, err := w.login(public); fault.KindOf(err) != fault.Unavailable { // a wrong secret is a fault of the settings
		t.Errorf("without the secret: %v", err)
	}
}

// TestV72_OnlyWhatTheIssuerSaysToThisClientCounts: the ID token is checked whole.
func TestV72_OnlyWhatTheIssuerSaysToThisClientCounts(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	good := map[string]any{"sub": "s-max", "nonce": "nonce"}
	with := func(claims map[string]any) string {
		all := maps.Clone(good)
		maps.Copy(all, claims)
		return w.issuer.Token(t, all)
	}
	var token any
	w.answering("/oauth/token", func(body map[string]any) { body["id_token"] = token })
	token = with(nil)
	w.wantIn()
	for what, raw := range map[string]any{
		"of another audience":   with(map[string]any{"aud": "another"}),
		"for another party":     with(map[string]any{"azp": "another"}),
		"for two":               with(map[string]any{"aud": []string{testserver.OpenIDClient, "another"}}),
		"of another issuer":     with(map[string]any{"iss": "https://issuer.example.com"}),
		"with another nonce":    with(map[string]any{"nonce": "another"}),
		"without a nonce":       with(map[string]any{"nonce": nil}),
		"expired":               with(map[string]any{"exp": now.Add(-time.Second).Unix()}),
		"without an end":        with(map[string]any{"exp": nil}),
		"from the future":       with(map[string]any{"iat": now.Add(5 * time.Minute).Unix()}),
		"not valid yet":         with(map[string]any{"nbf": now.Add(10 * time.Minute).Unix()}),
		"of no one":             with(map[string]any{"sub": ""}),
		"of a long name":        with(map[string]any{"sub": strings.Repeat("s", 256)}),
		"of another person":     with(map[string]any{"sub": "s-eve"}), // than at the userinfo endpoint
		"without a signature":   unsigned(t, w.issuer.URL),
		"by the public key":     byPublicKey(t, w),
		"by a key of its own":   testserver.StartIssuer(t, "").Token(t, map[string]any{"iss": w.issuer.URL, "aud": testserver.OpenIDClient, "sub": "s-max", "nonce": "nonce"}),
		"with another end":      with(nil) + "x",
		"that is none":          "token",
		"that is not there":     nil,
		"that is an object":     map[string]any{},
		"with two signatures":   `{"payload":"e30","signatures":[{"protected":"e30","signature":"e30"},{"protected":"e30","signature":"e30"}]}`,
		"with a sub of numbers": with(map[string]any{"sub": 7}),
	} {
		token = raw
		_, err := w.login(w.client)
		w.wantRefused("a token "+what, err)
	}
	w.issuer.Between(nil)
	w.wantIn()
}

func unsigned(t *testing.T, issuer string) string {
	t.Helper()
	claims, err := json.Marshal(map[string]any{"iss": issuer, "aud": testserver.OpenIDClient, "sub": "s-max", "nonce": "nonce", "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	return encoded(`{"alg":"none"}`) + "." + encoded(string(claims)) + "."
}

// byPublicKey is signed with the issuer's public key as if it were a shared secret.
func byPublicKey(t *testing.T, w *world) string {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(w.issuer.PublicKey(t))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: public}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(map[string]any{"iss": w.issuer.URL, "aud": testserver.OpenIDClient, "sub": "s-max", "nonce": "nonce", "exp": time.Now().Add(time.Hour).Unix()}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestV72_ACodeIsOfOneFlow: of its verifier, redirect URI, client and issuer, once.
func TestV72_ACodeIsOfOneFlow(t *testing.T) {
	w := newWorld(t)
	another := w.open(oidclogin.Settings{Issuer: w.issuer.URL, ClientID: "another", ClientSecret: testserver.OpenIDSecret})
	second := testserver.StartOpenID(t, callback)
	second.LogsIn("s-max", "Max", nil)
	finish := func(c *oidclogin.Client, f oidclogin.Flow, code, iss string) error {
		_, err := c.Finish(t.Context(), f, code, iss)
		return err
	}
	for what, try := range map[string]func(f oidclogin.Flow, code string) error{
		"without a verifier": func(f oidclogin.Flow, code string) error { f.Verifier = ""; return finish(w.client, f, code, "") },
		"with another verifier": func(f oidclogin.Flow, code string) error {
			f.Verifier = newFlow().Verifier
			return finish(w.client, f, code, "")
		},
		"another redirect":    func(f oidclogin.Flow, code string) error { f.Redirect += "x"; return finish(w.client, f, code, "") },
		"with another nonce":  func(f oidclogin.Flow, code string) error { f.Nonce = "another"; return finish(w.client, f, code, "") },
		"at another client":   func(f oidclogin.Flow, code string) error { return finish(another, f, code, "") },
		"of another issuer":   func(f oidclogin.Flow, code string) error { return finish(w.client, f, code, second.URL) },
		"that no issuer gave": func(f oidclogin.Flow, _ string) error { return finish(w.client, f, "code", "") },
		"a second time": func(f oidclogin.Flow, code string) error {
			return errorsOf(finish(w.client, f, code, w.issuer.URL), finish(w.client, f, code, ""))
		},
		"an empty one": func(f oidclogin.Flow, _ string) error { return finish(w.client, f, "", "") },
		"with another challenge": func(f oidclogin.Flow, _ string) error {
			other := newFlow()
			return finish(w.client, f, w.begin(w.client, other).Get("code"), "")
		},
	} {
		f := newFlow()
		w.wantRefused(what, try(f, w.begin(w.client, f).Get("code")))
	}
}

// errorsOf is the second error, where the first call succeeded.
func errorsOf(first, second error) error {
	if first != nil {
		return fmt.Errorf("the first one: %w", context.Canceled)
	}
	return second
}

// TestV77_ARefreshTokenAsksAgain: what changed is seen, the token rotates, and one that has ended
// says so with authority.
func TestV77_ARefreshTokenAsksAgain(t *testing.T) {
	w := newWorld(t)
	k := kept{w.wantIn().Refresh}
	refresh := func(token string) (login.Person, error) { return w.client.Refresh(t.Context(), "s-max", token, k.keep) }
	w.issuer.LogsIn("s-max", "Max Muster", map[string]any{"groups": "staff"})
	first := k.token
	p, err := refresh(first)
	if err != nil || p.Name != "Max Muster" || !slices.Equal(p.Groups, []string{"staff"}) || k.token == first || k.token == "" {
		t.Fatalf("%+v, %v", p, err)
	}
	if p, err := refresh(first); err == nil || k.token == first {
		t.Errorf("one that was replaced: %+v, %v", p, err)
	}
	second := k.token
	if _, err := w.client.Refresh(t.Context(), "s-max", second, func(string, bool) error { return context.Canceled }); err == nil {
		t.Error("a token that was not kept was used")
	}
	k.token = w.wantIn().Refresh
	if _, err := w.client.Refresh(t.Context(), "s-eve", k.token, k.keep); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("of another person: %v", err)
	}
	w.issuer.LogsIn("s-max", "Max", map[string]any{"groups": 7})
	_, err = refresh(k.token)
	w.wantDown("groups that cannot be read", err)
	w.issuer.LogsIn("s-max", "Max", nil)
	before := k.token
	w.issuer.Between(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "busy", http.StatusServiceUnavailable) })
	})
	k.token = ""
	_, err = refresh(before)
	if w.wantDown("an outage", err); k.token != before {
		t.Errorf("after an outage: %q", k.token)
	}
	w.issuer.Between(nil)
	w.issuer.Remove("s-max")
	if _, err := refresh(before); !errors.Is(err, login.ErrGone) {
		t.Errorf("a person who is gone: %v", err)
	}
}
