package admin

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/tools/testserver"
)

// issued is a certificate and its key, in PEM and as JSON.
func issued(t *testing.T) (string, string) {
	t.Helper()
	dir := t.TempDir()
	testserver.NewAuthority(t).Issue(t, dir, "client", "berth.example.com")
	var texts []string
	for _, file := range []string{"client.crt", "client.key"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		quoted, err := json.Marshal(string(text))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(quoted))
	}
	return texts[0], texts[1]
}

// TestT39_HowAnUpstreamIsReachedIsChecked, each setting with the field that is wrong.
func TestT39_HowAnUpstreamIsReachedIsChecked(t *testing.T) {
	a := withChain(t)
	cert, key := issued(t)
	otherCert, _ := issued(t)
	many := strings.Repeat(`{"name": "X-%d", "value": "v"},`, 21)
	for i := range 21 {
		many = strings.Replace(many, "%d", fmt.Sprint(i), 1)
	}
	for _, c := range [][2]string{
		{`"ca_certificates": "no PEM"`, "ca_certificates"},
		{`"ca_certificates": ` + key, "ca_certificates"},
		{`"ca_certificates": "` + strings.Repeat("x", maxPEM+1) + `"`, "ca_certificates"},
		{`"client_certificate": ` + cert, "client_key"},
		{`"client_key": ` + key, "client_key"},
		{`"client_certificate": ` + otherCert + `, "client_key": ` + key, "client_key"},
		{`"client_certificate": "x", "client_key": "y"`, "client_certificate"},
		{`"headers": [{"name": "X-A"}]`, "headers[0].value"},
		{`"headers": [{"value": "a"}]`, "headers[0].name"},
		{`"headers": [{"name": "a b", "value": "a"}]`, "headers[0].name"},
		{`"headers": [{"name": "X-A", "value": "a\u000d\u000ab"}]`, "headers[0].value"},
		{`"headers": [{"name": "X-A", "value": "` + strings.Repeat("x", maxHeaderValue+1) + `"}]`, "headers[0].value"},
		{`"headers": [{"name": "X-A", "value": "a"}, {"name": "x-a", "value": "b"}]`, "headers[1].name"},
		{`"headers": [` + strings.TrimSuffix(many, ",") + `]`, "headers"},
		{`"alternatives": [{"url": "ftp://a"}]`, "alternatives[0].url"},
		{`"alternatives": [{"url": "https://a/"}]`, "alternatives[0].url"},
		{`"alternatives": [{"url": "https://b"}, {"url": "https://B"}]`, "alternatives[1].url"},
		{`"alternatives": [{"url": "https://b", "password": "p"}]`, "alternatives[0].username"},
		{`"alternatives": [{"url": "https://b", "username": "a:b"}]`, "alternatives[0].username"},
		{`"alternatives": [{"url": "https://b"},{"url": "https://c"},{"url": "https://d"},{"url": "https://e"},{"url": "https://f"},{"url": "https://g"}]`, "alternatives"},
		{`"connect_timeout": "0.5s"`, "connect_timeout"},
		{`"connect_timeout": "61s"`, "connect_timeout"},
		{`"response_timeout": "1801s"`, "response_timeout"},
		{`"response_timeout": "0s"`, "response_timeout"},
		{`"progress_timeout": "601s"`, "progress_timeout"},
		{`"max_requests_per_second": -1`, "max_requests_per_second"},
		{`"max_requests_per_second": 0.01`, "max_requests_per_second"},
		{`"max_requests_per_second": "NaN"`, "max_requests_per_second"},
		{`"max_concurrent_requests": 65`, "max_concurrent_requests"},
		{`"max_concurrent_requests": -1`, "max_concurrent_requests"},
	} {
		resp, text := a.send(operatorToken, "POST", upstreams+"?upstream_id=new", `{"url": "https://a", `+c[0]+`}`)
		if resp.StatusCode != 400 || !strings.Contains(strings.ReplaceAll(string(text), `": "`, `":"`), `"field":"`+c[1]+`"`) {
			t.Errorf("%.80s: %d %s, want a violation of %s", c[0], resp.StatusCode, text, c[1])
		}
	}
	for _, name := range []string{
		"host", "Authorization", "cookie", "Content-Type", "content-length", "Range", "If-Match", "If-None-Match", "Forwarded", "X-Forwarded-For", "x-forwarded-host", "Accept",
		"accept-encoding", "Connection", "Keep-Alive", "Proxy-Authorization", "proxy-connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Via", "Expect", "Berth-Hops",
	} {
		a.call(400, "POST", upstreams+"?upstream_id=new", `{"url": "https://a", "headers": [{"name": "`+name+`", "value": "v"}]}`)
	}
	a.call(404, "GET", upstreams+"/new", "")
}

// TestT39_SecretsOfUpstreamsAreWriteOnly: sealed, never answered, kept by what was read, and
// given up by another URL.
func TestT39_SecretsOfUpstreamsAreWriteOnly(t *testing.T) {
	a := withChain(t)
	cert, key := issued(t)
	settings := `{"ca_certificates": ` + cert + `, "client_certificate": ` + cert + `, "client_key": ` + key + `,
		"headers": [{"name": "cf-access-client-secret", "value": "hunter-header"}],
		"alternatives": [{"url": "https://second.example", "username": "bob", "password": "hunter-second"}, {"url": "https://third.example"}],
		"connect_timeout": "2s", "response_timeout": "300s", "progress_timeout": "60s", "max_requests_per_second": 2.5, "max_concurrent_requests": 7}`
	a.call(200, "PATCH", upstreams+"/ghcr", settings)
	_, read := a.send(operatorToken, "GET", upstreams+"/ghcr", "")
	for _, want := range []string{
		`"name":"Cf-Access-Client-Secret"`, `"value_set":true`, `"client_key_set":true`, `"url":"https://second.example"`, `"password_set":true`,
		`"connect_timeout":"2s"`, `"response_timeout":"300s"`, `"progress_timeout":"60s"`, `"max_requests_per_second":2.5`, `"max_concurrent_requests":7`,
	} {
		if !strings.Contains(strings.ReplaceAll(string(read), `": `, `":`), want) {
			t.Errorf("no %s in %s", want, read)
		}
	}
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
	if !strings.Contains(string(events), "headers") || !strings.Contains(string(events), "(secret)") {
		t.Errorf("the change is not in the events: %s", events)
	}
	want := secretsOf(t, a, was)
	if len(want) != 3 {
		t.Errorf("kept %v", want)
	}
	for _, mask := range []string{"", "?update_mask=*", "?update_mask=headers,alternatives,client_key"} {
		a.call(200, "PATCH", upstreams+"/ghcr"+mask, string(read))
		if is := a.upstream("acme", "ghcr"); fmt.Sprint(secretsOf(t, a, is)) != fmt.Sprint(want) || is.Cache != was.Cache || is.Version != was.Version {
			t.Errorf("mask %q: %v, version %d", mask, secretsOf(t, a, is), is.Version)
		}
	}
	got := a.call(400, "PATCH", upstreams+"/ghcr", `{"url": "https://evil.example"}`)
	if text := fmt.Sprint(got); !strings.Contains(text, "it was given for https://ghcr.io") {
		t.Errorf("secrets follow another URL: %v", got)
	}
	a.call(400, "PATCH", upstreams+"/ghcr", `{"url": "https://evil.example", "client_certificate": "", "client_key": ""}`)
	a.call(200, "PATCH", upstreams+"/ghcr", `{"alternatives": [{"url": "https://second.example", "username": "alice"}]}`)
	if is := a.upstream("acme", "ghcr"); len(is.Settings.Alternatives[0].Password) > 0 {
		t.Error("a password is kept for another user")
	}
	a.call(200, "PATCH", upstreams+"/ghcr?update_mask=client_certificate,headers", `{}`)
	if is := a.upstream("acme", "ghcr"); len(is.Secrets()) > 0 || is.Settings.HasCredential() != true {
		t.Errorf("%v are left", is.Secrets())
	}
}

// secretsOf are all secrets of the upstream, opened.
func secretsOf(t *testing.T, a *api, u meta.Upstream) []string {
	t.Helper()
	var all []string
	for _, s := range u.Secrets() {
		plain, err := a.service.secrets.Open(*s.Value, s.Bound)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, plain)
	}
	return all
}

// TestT39_OtherSecretsGiveUpWhatWasFetched, and are sealed again with a new key.
func TestT39_OtherSecretsGiveUpWhatWasFetched(t *testing.T) {
	a := withChain(t)
	cert, key := issued(t)
	was := a.upstream("acme", "ghcr").Cache
	for body, renews := range map[string]bool{
		`{"headers": [{"name": "X-A", "value": "1"}]}`:                                             true,
		`{"alternatives": [{"url": "https://second.example", "username": "b", "password": "1"}]}`:  true,
		`{"client_certificate": ` + cert + `, "client_key": ` + key + `}`:                          true,
		`{"connect_timeout": "9s", "ca_certificates": ` + cert + `, "max_concurrent_requests": 3}`: false,
	} {
		a.call(200, "PATCH", upstreams+"/ghcr", body)
		if is := a.upstream("acme", "ghcr").Cache; (is != was) != renews {
			t.Errorf("%.60s: gives up what was fetched: %t", body, is != was)
		} else {
			was = is
		}
	}
	a.call(200, "PATCH", upstreams+"/ghcr", `{"headers": [{"name": "X-A", "value": "1"}]}`)
	if is := a.upstream("acme", "ghcr").Cache; is != was {
		t.Error("the same value gives up what was fetched")
	}
	a.call(200, "PATCH", upstreams+"/ghcr", `{"headers": [{"name": "X-A", "value": "2"}]}`)
	if is := a.upstream("acme", "ghcr").Cache; is == was {
		t.Error("another value keeps what was fetched")
	}
	before := a.upstream("acme", "ghcr")
	want := secretsOf(t, a, before)
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
	if got := secretsOf(t, a, a.upstream("acme", "ghcr")); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v after %v", got, want)
	}
}

// TestT39_SeedsHaveSecretsInFiles beside them, and none in themselves.
func TestT39_SeedsHaveSecretsInFiles(t *testing.T) {
	a := newAPI(t)
	const file = `
tenants:
- id: acme
  upstreams:
  - id: ghcr
    url: https://ghcr.io
    headers: [{name: X-A, value_file: header}]
    alternatives: [{url: "https://second.example", username: bob, password_file: second}]
    response_timeout: 5m
`
	secrets := map[string]string{"header": "hunter-header", "second": "hunter-second"}
	for range 2 {
		if err := a.service.Apply(t.Context(), writeSeed(t, file, secrets)); err != nil {
			t.Fatal(err)
		}
	}
	if got := secretsOf(t, a, a.upstream("acme", "ghcr")); fmt.Sprint(got) != "[hunter-header hunter-second]" {
		t.Errorf("%v", got)
	}
	for _, change := range [][2]string{{"value_file: header", "value: hunter-header"}, {"password_file: second", "password: hunter-second"}, {"value_file: header", "value_file: missing"}} {
		err := a.service.Apply(t.Context(), writeSeed(t, strings.Replace(file, change[0], change[1], 1), secrets))
		if err == nil || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v", change[1], err)
		}
	}
}

// TestT39_OtherURLsMayBeForbiddenToo.
func TestT39_OtherURLsMayBeForbiddenToo(t *testing.T) {
	chains := &guarded{}
	a := withChain(t, func(c *Config, _ *Options) { c.Chains = chains })
	got := a.call(400, "PATCH", upstreams+"/ghcr", `{"alternatives": [{"url": "https://10.0.0.1"}]}`)
	if !strings.Contains(fmt.Sprint(got), "field:alternatives[0].url") {
		t.Errorf("%v", got)
	}
	got = a.call(400, "PATCH", upstreams+"/ghcr", `{"proxy": "unknown"}`)
	if !strings.Contains(fmt.Sprint(got), "field:proxy") {
		t.Errorf("%v", got)
	}
}
