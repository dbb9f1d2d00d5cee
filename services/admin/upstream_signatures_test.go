package admin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/cosign/cosigntest"
)

// TestT68_KeysAreChecked sets rules about signatures, reads them and is told which key cannot
// be used, and why. A private key is never repeated.
func TestT68_KeysAreChecked(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	rule := func(repositories string, keys ...string) string {
		texts, err := json.Marshal(keys)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"repositories": %s, "public_keys": %s}`, repositories, texts)
	}
	rules := func(rules ...string) string { return `{"signatures": [` + strings.Join(rules, ",") + `]}` }
	var good []string
	for _, kind := range []string{cosigntest.P256, cosigntest.P384, cosigntest.Ed25519, cosigntest.RSA} {
		good = append(good, cosigntest.New(kind).PEM())
	}
	a.call(200, "POST", upstreams+"?upstream_id=ghcr", `{"url": "https://ghcr.io"}`)
	a.call(200, "PATCH", upstreams+"/ghcr", rules(rule(`["library/**"]`, good...), rule(`[]`, good[0])))
	shown := fmt.Sprint(a.call(200, "GET", upstreams+"/ghcr", ""))
	for _, want := range append(good, "library/**") {
		if !strings.Contains(shown, want) {
			t.Errorf("%s is not shown: %s", want, shown)
		}
	}

	public := func(key any, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return cosigntest.Public(key)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	weak := public(&small.PublicKey, err)
	curve, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	foreign := public(&curve.PublicKey, err)
	many := slices.Repeat(good[:1], 33)
	private := cosigntest.New(cosigntest.P256).PrivatePEM()
	for what, c := range map[string]struct{ body, field, why string }{
		"no key":            {rules(rule(`["a"]`)), "signatures[0].public_keys", "at least one"},
		"text":              {rules(rule(`[]`, "a key")), "signatures[0].public_keys[0]", "not PEM"},
		"nothing":           {rules(rule(`[]`, "")), "signatures[0].public_keys[0]", "not PEM"},
		"a private key":     {rules(rule(`[]`, good[0]), rule(`[]`, good[0], private)), "signatures[1].public_keys[1]", "private key"},
		"a small RSA key":   {rules(rule(`[]`, weak)), "signatures[0].public_keys[0]", "1024 bits"},
		"another curve":     {rules(rule(`[]`, foreign)), "signatures[0].public_keys[0]", "another curve"},
		"a certificate":     {rules(rule(`[]`, strings.ReplaceAll(good[0], "PUBLIC KEY", "CERTIFICATE"))), "signatures[0].public_keys[0]", "another type"},
		"two keys in one":   {rules(rule(`[]`, good[0]+good[1])), "signatures[0].public_keys[0]", "more than one"},
		"noise":             {rules(rule(`[]`, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")), "signatures[0].public_keys[0]", "can be read"},
		"a long text":       {rules(rule(`[]`, good[0]+strings.Repeat("\n", 5000))), "signatures[0].public_keys[0]", "4096 bytes"},
		"no pattern":        {rules(rule(`["[a"]`, good[0])), "signatures[0].repositories[0]", "pattern"},
		"too many keys":     {rules(rule(`[]`, many...)), "signatures[0].public_keys", "32"},
		"keys of all rules": {rules(rule(`[]`, many[:20]...), rule(`[]`, many[:20]...)), "signatures[1].public_keys", "32"},
		"too many rules":    {rules(strings.Split(strings.TrimSuffix(strings.Repeat(rule(`[]`, good[0])+"\x00", 21), "\x00"), "\x00")...), "signatures", "20"},
	} {
		got := fmt.Sprint(a.call(400, "PATCH", upstreams+"/ghcr", c.body))
		if !strings.Contains(got, "field:"+c.field+" ") || !strings.Contains(got, c.why) {
			t.Errorf("%s: %s, want %s and %q", what, got, c.field, c.why)
		}
		if strings.Contains(got, private[40:80]) {
			t.Errorf("%s: the answer repeats a private key", what)
		}
	}
}
