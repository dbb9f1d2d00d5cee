package workload_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/workload"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestV42_AudienceAndTimesOfTokens: for this host, now.
func TestV42_AudienceAndTimesOfTokens(t *testing.T) {
	w := newWorld(t, loopback)
	w.trusts("acme", meta.Trust{Condition: fromMain})
	claims := func(changes ...any) map[string]any {
		c := testserver.GitHub(host, "acme/web", "main")
		for i := 0; i < len(changes); i += 2 {
			c[changes[i].(string)] = changes[i+1]
		}
		return c
	}
	if id := w.wantIn(w.token(claims())); id.Job != "repo:acme/web:ref:refs/heads/main" {
		t.Errorf("the job is %q", id.Job)
	}
	now := w.now.Load().Unix()
	w.wantIn(w.token(claims("aud", []string{"another", host})))
	w.wantIn(w.token(claims("iat", now+20, "nbf", now+20))) // clocks differ
	w.wantIn(w.token(claims("exp", now-20)))
	w.wantIn(w.token(claims("iat", nil, "nbf", nil)))
	for what, c := range map[string]map[string]any{
		"of another audience":     claims("aud", "sts.amazonaws.com"),
		"for another tenant":      claims("aud", "other.example.com"),
		"of a longer audience":    claims("aud", host+".evil.example"),
		"of no audience":          claims("aud", nil),
		"of an empty audience":    claims("aud", []string{}),
		"expired":                 claims("exp", now-60),
		"that never expires":      claims("exp", nil),
		"issued in the future":    claims("iat", now+60),
		"not valid yet":           claims("nbf", now+60),
		"of another issuer":       claims("iss", "https://token.actions.githubusercontent.com"),
		"of a similar issuer":     claims("iss", w.issuer.URL+"/"),
		"of no issuer":            claims("iss", nil),
		"with a number as issuer": claims("iss", 7),
		"with text as a time":     claims("exp", "tomorrow"),
	} {
		w.wantRefused(what, w.token(c))
	}
	// At a host of another tenant that trusts the same issuer in the same way.
	good := w.token(claims())
	w.trusts("other", meta.Trust{Condition: fromMain})
	for name, at := range map[string]login.Attempt{
		"another tenant":   {Tenant: w.tenant["other"], TenantSlug: "other", Name: "ci", Host: "other.example.com"},
		"the admin API":    {Tenant: w.tenant["acme"], TenantSlug: "acme", Name: "ci"},
		"another account":  {Tenant: w.tenant["acme"], TenantSlug: "acme", Name: "c2", Host: host},
		"a principal name": {Tenant: w.tenant["acme"], TenantSlug: "acme", Name: "serviceAccounts/ci", Host: host},
	} {
		at.Secret = good
		if id, err := w.auth.Authenticate(t.Context(), at); err == nil || workload.Why(err) == "" {
			t.Errorf("replayed at %s: %+v, %v", name, id, err)
		}
	}
	w.advance(5*time.Minute + workload.Leeway + time.Second)
	w.wantRefused("after its end", good)
}

// TestV43_SignaturesThatDoNotCount: without one, with a shared secret, of another key, or of
// another form.
func TestV43_SignaturesThatDoNotCount(t *testing.T) {
	w := newWorld(t, loopback)
	w.trusts("acme", meta.Trust{Condition: fromMain})
	claims := func() map[string]any { return testserver.GitHub(host, "acme/web", "main") }
	good := w.token(claims())
	w.wantIn(good)
	key := w.issuer.Key()
	public, err := x509.MarshalPKIXPublicKey(key.Public().Key)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	parts := strings.Split(good, ".")
	header := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	embedded, err := json.Marshal(jose.JSONWebKey{Key: other.Public(), KeyID: key.KeyID})
	if err != nil {
		t.Fatal(err)
	}
	by := func(k any, kid, alg string) string {
		return w.issuer.TokenBy(t, jose.JSONWebKey{Key: k, KeyID: kid, Algorithm: alg}, claims())
	}
	for what, secret := range map[string]string{
		"alg none":                     header(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + ".",
		"alg none with a signature":    header(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + "." + parts[2],
		"HS256 by the public key":      by(asPEM, key.KeyID, "HS256"),
		"HS256 by its DER":             by(public, key.KeyID, "HS256"),
		"another key":                  by(other, key.KeyID, "RS256"),
		"an unknown kid":               by(other, "unknown", "RS256"),
		"the right key, an unknown ID": by(key.Key, "unknown", "RS256"),
		"another algorithm":            by(key.Key, key.KeyID, "PS256"),
		"a key in its header":          header(`{"alg":"RS256","kid":"first","jwk":`+string(embedded)+`}`) + "." + parts[1] + "." + parts[2],
		"a critical header":            header(`{"alg":"RS256","kid":"first","crit":["x"],"x":1}`) + "." + parts[1] + "." + parts[2],
		"a changed payload":            parts[0] + "." + header(`{"iss":"`+w.issuer.URL+`","exp":9999999999,"aud":"`+host+`"}`) + "." + parts[2],
		"a cut signature":              good[:len(good)-4],
		"no signature":                 parts[0] + "." + parts[1] + ".",
		"two parts":                    parts[0] + "." + parts[1],
		"four parts":                   good + "." + parts[2],
		"white space":                  good[:len(parts[0])] + " " + good[len(parts[0]):],
		"the form of JSON":             `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"17 KiB":                       w.token(map[string]any{"aud": host, "pad": strings.Repeat("x", 13<<10)}),
		"deep nesting":                 parts[0] + "." + header(`{"iss":`+strings.Repeat("[", 9000)) + "." + parts[2],
		"nothing":                      "",
	} {
		w.wantRefused(what, secret)
	}
	w.wantIn(good)
}

// TestV43_OnlyTokensHaveTheForm that leads away from passwords.
func TestV43_OnlyTokensHaveTheForm(t *testing.T) {
	issuer := testserver.StartIssuer(t, "")
	for secret, want := range map[string]bool{
		issuer.Token(t, testserver.GitHub(host, "acme/web", "main")): true,
		"eyJhbGciOiJub25lIn0.e30.":                                   true,
		"berth_" + strings.Repeat("A", 43):                           false,
		"correct.horse.battery":                                      false,
		"eyJ":                                                        false,
		"eyJ.a":                                                      false,
		"eyJ.a.b.c":                                                  false,
		"eyJhbGciOiJub25lIn0.e30.pass word":                          false,
		"":                                                           false,
	} {
		if got := workload.IsToken(secret); got != want {
			t.Errorf("%.40q: %t", secret, got)
		}
	}
}

// FuzzToken logs in with whatever bytes: they are refused, and never by a panic or as an outage.
func FuzzToken(f *testing.F) {
	w := newWorld(f, loopback)
	w.trusts("acme", meta.Trust{Condition: fromMain})
	good := w.token(testserver.GitHub(host, "acme/web", "main"))
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	f.Add(good + good)
	f.Add(strings.Replace(good, ".", ".eyJ", 1))
	f.Fuzz(func(t *testing.T, secret string) {
		workload.IsToken(secret)
		id, err := w.auth.Authenticate(t.Context(), login.Attempt{Tenant: w.tenant["acme"], TenantSlug: "acme", Name: "ci", Secret: secret, Host: host})
		switch {
		case err == nil && id.Job != "repo:acme/web:ref:refs/heads/main": // base64 has more than one form
			t.Errorf("%q is %+v", secret, id)
		case err != nil && workload.Why(err) == "":
			t.Errorf("%q: %v", secret, err)
		}
	})
}
