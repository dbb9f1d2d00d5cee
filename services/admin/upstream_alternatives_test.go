package admin

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/seal"
)

// TestT72_AlternativesAreChecked as the upstream itself is, each setting with its field.
func TestT72_AlternativesAreChecked(t *testing.T) {
	a := withChain(t)
	cert, key := issued(t)
	otherCert, _ := issued(t)
	for _, c := range [][2]string{
		{`"ca_certificates": "no PEM"`, "ca_certificates"},
		{`"ca_certificates": ` + key, "ca_certificates"},
		{`"client_certificate": "x", "client_key": "y"`, "client_certificate"},
		{`"client_certificate": ` + cert, "client_key"},
		{`"client_key": ` + key, "client_key"},
		{`"client_certificate": ` + otherCert + `, "client_key": ` + key, "client_key"},
		{`"headers": [{"name": "X-A"}]`, "headers[0].value"},
		{`"headers": [{"name": "Authorization", "value": "a"}]`, "headers[0].name"},
		{`"headers": [{"name": "X-A", "value": "a"}, {"name": "x-a", "value": "b"}]`, "headers[1].name"},
	} {
		resp, text := a.send(operatorToken, "POST", upstreams+"?upstream_id=new", `{"url": "https://a", "alternatives": [{"url": "https://b"}, {"url": "https://c", `+c[0]+`}]}`)
		if resp.StatusCode != 400 || !strings.Contains(strings.ReplaceAll(string(text), `": "`, `":"`), `"field":"alternatives[1].`+c[1]+`"`) {
			t.Errorf("%.80s: %d %s, want a violation of %s", c[0], resp.StatusCode, text, c[1])
		}
	}
}

// TestT72_SecretsOfAlternativesAreWriteOnly: sealed for their URL, never answered, kept by
// what was read, and given up by another URL.
func TestT72_SecretsOfAlternativesAreWriteOnly(t *testing.T) {
	a := withChain(t)
	cert, key := issued(t)
	otherCert, otherKey := issued(t)
	const second = "https://second.example"
	a.call(200, "PATCH", upstreams+"/ghcr", `{"client_certificate": `+cert+`, "client_key": `+key+`, "alternatives": [
		{"url": "`+second+`", "username": "bob", "password": "hunter-second", "ca_certificates": `+cert+`,
			"client_certificate": `+otherCert+`, "client_key": `+otherKey+`, "headers": [{"name": "x-a", "value": "hunter-header"}]},
		{"url": "https://third.example", "headers": [{"name": "x-a", "value": "hunter-third"}]}]}`)
	_, read := a.send(operatorToken, "GET", upstreams+"/ghcr", "")
	_, events := a.send(operatorToken, "GET", "/v1/tenants/acme/events", "")
	was := a.upstream("acme", "ghcr")
	kept, err := json.Marshal(was.Settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter", "PRIVATE KEY"} {
		if strings.Contains(string(read)+string(events)+string(kept), secret) {
			t.Errorf("%s can be read", secret)
		}
	}
	want := secretsOf(t, a, was)
	if len(want) != 5 || strings.Count(strings.ReplaceAll(string(read), `": `, `":`), `"value_set":true`) != 2 {
		t.Fatalf("%d are kept, %s", len(want), read)
	}
	for _, mask := range []string{"", "?update_mask=*", "?update_mask=alternatives"} {
		a.call(200, "PATCH", upstreams+"/ghcr"+mask, string(read))
		if is := a.upstream("acme", "ghcr"); fmt.Sprint(secretsOf(t, a, is)) != fmt.Sprint(want) || is.Cache != was.Cache || is.Version != was.Version {
			t.Errorf("mask %q: %v, version %d", mask, secretsOf(t, a, is), is.Version)
		}
	}
	// Another URL needs all of them again, also one that another alternative has.
	for from, to := range map[string]string{second: "https://evil.example", "https://third.example": "https://ghcr.io:8443"} {
		got := a.call(400, "PATCH", upstreams+"/ghcr", strings.ReplaceAll(string(read), from, to))
		if text := fmt.Sprint(got); !strings.Contains(text, "field:alternatives[") {
			t.Errorf("%s: %v", to, got)
		}
	}
	a.call(400, "PATCH", upstreams+"/ghcr", `{"alternatives": [{"url": "`+second+`", "client_certificate": `+cert+`}]}`) // not of the key
	a.call(200, "PATCH", upstreams+"/ghcr", `{"alternatives": [{"url": "`+second+`"}]}`)
	if is := a.upstream("acme", "ghcr"); len(is.Settings.Alternatives[0].Key) > 0 || len(is.Secrets()) != 1 {
		t.Errorf("%d secrets are left", len(is.Secrets()))
	}
}

// TestT72_OtherSecretsOfAlternativesGiveUpWhatWasFetched, and are sealed again with a new
// key.
func TestT72_OtherSecretsOfAlternativesGiveUpWhatWasFetched(t *testing.T) {
	a := withChain(t)
	cert, key := issued(t)
	was := a.upstream("acme", "ghcr").Cache
	for _, c := range []struct {
		settings string
		renews   bool
	}{
		{``, true},
		{`, "headers": [{"name": "X-A", "value": "1"}]`, true},
		{`, "headers": [{"name": "X-A", "value": "1"}]`, false},
		{`, "headers": [{"name": "X-A", "value": "2"}]`, true},
		{`, "headers": [{"name": "X-A"}], "ca_certificates": ` + cert, false},
		{`, "client_certificate": ` + cert + `, "client_key": ` + key, true},
		{`, "client_certificate": ` + cert + `, "client_key": ` + key, false},
		{``, true},
		{`, "client_certificate": ` + cert + `, "client_key": ` + key + `, "headers": [{"name": "X-A", "value": "3"}]`, true},
	} {
		a.call(200, "PATCH", upstreams+"/ghcr", `{"alternatives": [{"url": "https://second.example"`+c.settings+`}]}`)
		is := a.upstream("acme", "ghcr")
		if (is.Cache != was) != c.renews {
			t.Errorf("%.60s: gives up what was fetched: %t", c.settings, is.Cache != was)
		}
		if was = is.Cache; is.Settings.HasCredential() != (len(is.Secrets()) > 0) {
			t.Errorf("%.60s: has a credential: %t", c.settings, is.Settings.HasCredential())
		}
	}
	want := secretsOf(t, a, a.upstream("acme", "ghcr"))
	var err error
	if a.service.secrets, err = seal.New([]byte("the next key of the tests"), []byte("the secret key of the tests")); err != nil {
		t.Fatal(err)
	}
	if n, err := a.service.Reseal(t.Context()); n != 1 || err != nil {
		t.Errorf("%d sealed again, %v", n, err)
	}
	if a.service.secrets, err = seal.New([]byte("the next key of the tests")); err != nil {
		t.Fatal(err)
	}
	if got := secretsOf(t, a, a.upstream("acme", "ghcr")); len(got) != 2 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v after %v", got, want)
	}
}

// TestT72_SeedsHaveSecretsOfAlternativesInFiles, also those of their headers.
func TestT72_SeedsHaveSecretsOfAlternativesInFiles(t *testing.T) {
	a := newAPI(t)
	cert, key := issued(t)
	var plainKey string
	if err := json.Unmarshal([]byte(key), &plainKey); err != nil {
		t.Fatal(err)
	}
	file := `
tenants:
- id: acme
  upstreams:
  - id: ghcr
    url: https://ghcr.io
    alternatives:
    - url: https://second.example
      client_certificate: ` + cert + `
      client_key_file: second.key
      headers: [{name: X-A, value_file: header}]
`
	secrets := map[string]string{"header": "hunter-header", "second.key": plainKey}
	for range 2 {
		if err := a.service.Apply(t.Context(), writeSeed(t, file, secrets)); err != nil {
			t.Fatal(err)
		}
	}
	if got := secretsOf(t, a, a.upstream("acme", "ghcr")); len(got) != 2 || strings.TrimSpace(got[0]) != strings.TrimSpace(plainKey) || got[1] != "hunter-header" {
		t.Errorf("%q", got)
	}
	for change, want := range map[[2]string]string{
		{"value_file: header", "value: hunter-header"}:            "upstreams[0].alternatives[0].headers[0].value",
		{"value_file: header", "value_file: missing"}:             "upstreams[0].alternatives[0].headers[0].value_file",
		{"client_key_file: second.key", "client_key: hunter"}:     "upstreams[0].alternatives[0].client_key",
		{"client_key_file: second.key", "client_key_file: other"}: "upstreams[0].alternatives[0].client_key_file",
	} {
		err := a.service.Apply(t.Context(), writeSeed(t, strings.Replace(file, change[0], change[1], 1), secrets))
		if err == nil || strings.Contains(err.Error(), "hunter") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", change[1], err)
		}
	}
}
