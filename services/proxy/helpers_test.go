package proxy_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/credential"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// cloudSecret is what the registries of these tests take.
const cloudSecret = "short-lived"

// helped is a world whose operator declares the helper "cloud", for the tenant acme and
// this upstream.
func helped(t *testing.T, up *testserver.Scripted, declaration string) *world {
	t.Helper()
	host := strings.TrimPrefix(up.URL(), "http://")
	declared, err := credential.Parse(fmt.Appendf(nil, "cloud:\n  tenants: [acme]\n  hosts: [%q]\n%s\n", host, declaration))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w := newWorldBy(t, upstream.Options{Helpers: credential.New(declared, log)})
	w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) {
		s.CredentialHelper, s.ServeAnonymous = "cloud", new(true)
	})
	w.chain(meta.Member{Upstream: "hub"})
	return w
}

func written(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// serviceAccount is a file of Google's, whose tokens are from this URL.
func serviceAccount(t *testing.T, tokenURL string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "berth@example.iam.gserviceaccount.com", "token_uri": tokenURL,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return written(t, "account.json", string(text), 0o600)
}

// TestT58_EachKindOfHelper pulls an image that only the helper's credential gets, twice: the
// second pull of other content has the credential already.
func TestT58_EachKindOfHelper(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	clouds := testserver.StartClouds(t, cloudSecret)
	token := written(t, "token", testserver.CloudToken+"\n", 0o600)
	program := func(user string) string {
		return written(t, "docker-credential-test", "#!/bin/sh\n[ \"$1\" = get ] && read host && printf '{\"Username\":\"%s\",\"Secret\":\"%s\"}' '"+user+"' "+cloudSecret+"\n", 0o700)
	}
	url := clouds.URL()
	for name, c := range map[string]struct{ user, declaration string }{
		"ecr, instance":      {"AWS", "  kind: ecr\n  region: eu-west-1\n  endpoint: " + url + "\n  metadata_endpoint: " + url},
		"ecr, role":          {"AWS", "  kind: ecr\n  region: eu-west-1\n  role_arn: arn:aws:iam::1:role/r\n  external_id: x\n  endpoint: " + url + "\n  sts_endpoint: " + url + "\n  metadata_endpoint: " + url},
		"ecr, web identity":  {"AWS", "  kind: ecr\n  region: eu-west-1\n  role_arn: arn:aws:iam::1:role/r\n  token_file: " + token + "\n  endpoint: " + url + "\n  sts_endpoint: " + url},
		"google, metadata":   {"oauth2accesstoken", "  kind: google\n  metadata_endpoint: " + url},
		"google, file":       {"oauth2accesstoken", "  kind: google\n  credentials_file: " + serviceAccount(t, url+"/google/token")},
		"azure, managed":     {"00000000-0000-0000-0000-000000000000", "  kind: azure\n  metadata_endpoint: " + url},
		"azure, workload":    {"00000000-0000-0000-0000-000000000000", "  kind: azure\n  client_id: me\n  tenant_id: directory\n  authority: " + url + "\n  token_file: " + token},
		"token exchange":     {"exchanged", "  kind: token_exchange\n  username: exchanged\n  audience: registry\n  token_url: " + url + "/exchange\n  token_file: " + token},
		"exec":               {"robot", "  kind: exec\n  command: [" + program("robot") + "]"},
		"exec, refresh":      {"robot", "  kind: exec\n  command: [" + program("<token>") + "]"},
		"file of a helper":   {"robot", "  kind: file\n  path: " + written(t, "login.json", `{"Username":"robot","Secret":"`+cloudSecret+`"}`, 0o600)},
		"file with a secret": {"robot", "  kind: file\n  username: robot\n  path: " + written(t, "secret", cloudSecret+"\n", 0o600)},
	} {
		t.Run(name, func(t *testing.T) {
			up := testserver.StartScripted(t)
			up.RequireToken(c.user, cloudSecret)
			up.ExchangeTokens(cloudSecret)
			up.Push("team/other", up.Image, testserver.ScriptedTag)
			w := helped(t, up, c.declaration)
			clouds.Forget()
			w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
			before := clouds.Connections()
			w.wantPull("", "team/other", testserver.ScriptedTag, up.Image)
			if n := clouds.Connections(); n != before {
				t.Errorf("%d more requests to the cloud for the second pull", n-before)
			}
		})
	}
}

// TestT58_FailuresOfAHelper are outages, never absences, and do not call the cloud for
// each request of a client.
func TestT58_FailuresOfAHelper(t *testing.T) {
	clouds := testserver.StartClouds(t, cloudSecret)
	up := testserver.StartScripted(t)
	up.RequireToken("oauth2accesstoken", cloudSecret)
	w := helped(t, up, "  kind: google\n  metadata_endpoint: "+clouds.URL())
	clouds.Break(http.StatusInternalServerError)
	for range 5 {
		a := w.get("/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag)
		if a.Status != http.StatusBadGateway || !strings.Contains(a.Body, `helper \"cloud\"`) || strings.Contains(a.Body, "127.0.0.1") {
			t.Errorf("%d %s, want 502 that names the helper", a.Status, a.Body)
		}
	}
	if n := clouds.Connections(); n != 1 {
		t.Errorf("the cloud saw %d requests", n)
	}
}

// TestT58_ARefusedCredentialIsReplaced once: the cloud gives another one before the first has
// expired.
func TestT58_ARefusedCredentialIsReplaced(t *testing.T) {
	clouds := testserver.StartClouds(t, "first")
	up := testserver.StartScripted(t)
	up.RequireToken("oauth2accesstoken", "first")
	up.Push("team/other", up.Image, testserver.ScriptedTag)
	w := helped(t, up, "  kind: google\n  metadata_endpoint: "+clouds.URL())
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	clouds.SetSecret("second", time.Hour)
	up.RequireToken("oauth2accesstoken", "second")
	up.ExpireTokens()
	w.wantPull("", "team/other", testserver.ScriptedTag, up.Image)
	if n := clouds.Connections(); n != 2 {
		t.Errorf("the cloud saw %d requests, want 2", n)
	}
}

// TestT54_AHelperIsGranted: another tenant that names it, or another host, gets nothing,
// and the helper is not asked.
func TestT54_AHelperIsGranted(t *testing.T) {
	clouds := testserver.StartClouds(t, cloudSecret)
	up, foreign := testserver.StartScripted(t), testserver.StartScripted(t)
	up.RequireToken("oauth2accesstoken", cloudSecret)
	w := helped(t, up, "  kind: google\n  metadata_endpoint: "+clouds.URL())
	other := w.another("globex")
	other.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.CredentialHelper, s.ServeAnonymous = "cloud", new(true) })
	other.chain(meta.Member{Upstream: "hub"})
	w.upstream("foreign", foreign.URL(), func(s *meta.UpstreamSettings) { s.CredentialHelper, s.ServeAnonymous = "cloud", new(true) })
	g, err := w.Meta.FindGroup(t.Context(), w.dev.Tenant, "chain")
	if err == nil {
		g.Members = []meta.Member{{Upstream: "foreign", OnOutage: meta.Continue, OnDenied: meta.Continue}, {Upstream: "hub"}}
		_, err = w.Meta.UpdateGroup(t.Context(), fronttest.By(), g)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.proxy.Clear()
	for _, at := range []*world{w, other} {
		a := at.get("/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag)
		if a.Status != http.StatusServiceUnavailable || !strings.Contains(a.Body, `credential helper \"cloud\"`) {
			t.Errorf("%d %s, want 503 that names the helper", a.Status, a.Body)
		}
	}
	if n := clouds.Connections() + up.Connections() + foreign.Connections(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// TestT55_AHelpersCredentialStays at the hosts that the operator lists: the tenant's
// auth_hosts do not count.
func TestT55_AHelpersCredentialStays(t *testing.T) {
	clouds := testserver.StartClouds(t, cloudSecret)
	up, foreign := testserver.StartScripted(t), testserver.StartScripted(t)
	up.RequireToken("oauth2accesstoken", cloudSecret)
	up.SetChallenge(`Bearer realm="` + foreign.URL() + `/token",service="x"`)
	w := helped(t, up, "  kind: google\n  metadata_endpoint: "+clouds.URL())
	u, err := w.Meta.FindUpstream(t.Context(), w.dev.Tenant, "hub")
	if err == nil {
		u.Settings.AuthHosts = []string{strings.TrimPrefix(foreign.URL(), "http://")}
		_, err = w.Meta.UpdateUpstream(t.Context(), fronttest.By(), u, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.proxy.Clear()
	a := w.get("/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag)
	if a.Status != http.StatusBadGateway || !strings.Contains(a.Body, "the operator must add it") {
		t.Errorf("%d %s, want 502 that says so", a.Status, a.Body)
	}
	if n := foreign.Connections(); n != 0 {
		t.Errorf("the other host saw %d requests", n)
	}
}

// TestT55_AnAlternativeGetsNoCredentialOfAHelper: the tenant names it, and the operator
// does not.
func TestT55_AnAlternativeGetsNoCredentialOfAHelper(t *testing.T) {
	clouds := testserver.StartClouds(t, cloudSecret)
	up, alternative := testserver.StartScripted(t), testserver.StartScripted(t)
	alternative.RequireToken("oauth2accesstoken", cloudSecret)
	w := helped(t, up, "  kind: google\n  metadata_endpoint: "+clouds.URL())
	u, err := w.Meta.FindUpstream(t.Context(), w.dev.Tenant, "hub")
	if err == nil {
		u.Settings.Alternatives = []meta.UpstreamTarget{{URL: alternative.URL()}}
		_, err = w.Meta.UpdateUpstream(t.Context(), fronttest.By(), u, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.proxy.Clear()
	up.Script(testserver.Fault500)
	if a := w.get("/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag); a.Status == http.StatusOK {
		t.Error("the alternative answered by the helper's credential")
	}
	if alternative.Connections() == 0 {
		t.Error("the alternative was not asked")
	}
	for _, r := range alternative.Requests() {
		if r.Header.Get("Authorization") != "" && strings.HasPrefix(r.Header.Get("Authorization"), "Basic ") {
			t.Errorf("%s was sent the credential of the helper", r.Path)
		}
	}
}
