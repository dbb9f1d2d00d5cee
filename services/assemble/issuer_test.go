package assemble_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

const corpLogin = "/v1/login?tenant=acme&provider=operator/identityProviders/corp"

// startWithIssuer starts a deployment with an issuer of the operator's, with max in its group dev, who
// gets the rule of the tests.
func startWithIssuer(t *testing.T, start func(*testing.T, string, edit) *world) (*world, *testserver.OpenID) {
	t.Helper()
	sso := testserver.StartOpenID(t)
	file := filepath.Join(t.TempDir(), "issuer.crt")
	if err := os.WriteFile(file, sso.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, rulesSeed, func(c *boot.Config) { c.UpstreamCA = file })
	w.addIssuer(t, "corp", sso)
	sso.LogsIn("s-max", "max", map[string]any{"groups": []string{"dev"}})
	w.admin(t, http.MethodPost, groupPath+"?group_id=dev", map[string]any{
		"identity_groups": []map[string]any{{"provider": "identityProviders/corp", "group": "dev"}},
	}).want(t, http.StatusOK)
	w.admin(t, http.MethodPost, rulePath+"?access_rule_id=dev-images", map[string]any{
		"effect": "ALLOW", "principals": []string{"groups/dev"}, "registries": []string{"dev"},
		"repositories": []string{"foo/img/*"}, "actions": []string{"PULL", "PUSH"},
	}).want(t, http.StatusOK)
	return w, sso
}

// startsWithIssuer are the smallest and the largest shape, for startWithIssuer.
var startsWithIssuer = map[string]func(*testing.T, string, edit) *world{
	"embedded": func(t *testing.T, seed string, e edit) *world { t.Helper(); return startEmbedded(t, seed, e) },
	"split":    func(t *testing.T, seed string, e edit) *world { t.Helper(); return startSplit(t, seed, "", e) },
}

// addIssuer makes an issuer one of the operator's providers.
func (w *world) addIssuer(t *testing.T, id string, sso *testserver.OpenID) {
	t.Helper()
	var made struct {
		OIDC struct {
			Redirect string `json:"redirect_uri"`
		}
	}
	mustAll(t, json.Unmarshal(w.admin(t, http.MethodPost, "/v1/identityProviders?identity_provider_id="+id, map[string]any{"oidc": map[string]any{
		"issuer": sso.URL, "client_id": testserver.OpenIDClient, "client_secret": testserver.OpenIDSecret, "groups_claim": "groups",
	}}).want(t, http.StatusOK).body, &made))
	sso.RedirectTo(w.adminURL(t) + made.OIDC.Redirect)
}

// tokenByBrowser logs in at an issuer, and returns the secret of an access token that user makes then.
func (w *world) tokenByBrowser(t *testing.T, sso *testserver.OpenID, login, user string) string {
	t.Helper()
	at := repository{deployment: deployment{base: w.adminURL(t), client: browser(t, sso)}}
	if a := at.get(t, login).want(t, http.StatusOK); !strings.Contains(string(a.body), "logged in as users/"+user+".") {
		t.Fatalf("%s", a.body)
	}
	var mine struct{ Secret string }
	made := at.send(t, request{
		method: http.MethodPost, target: usersPath + "/" + user + "/accessTokens", body: []byte("{}"),
		header: headers("Content-Type", "application/json"),
	})
	mustAll(t, json.Unmarshal(made.want(t, http.StatusOK).body, &mine))
	return mine.Secret
}

func (w *world) adminURL(t *testing.T) string {
	t.Helper()
	for _, n := range w.nodes {
		if n.config.Runs(boot.AdminService) {
			return "http://" + n.at("admin_addr")
		}
	}
	t.Fatal("no node runs the admin service")
	return ""
}

// browser is a client with cookies that trusts the issuer.
func browser(t *testing.T, sso *testserver.OpenID) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(sso.CA)
	way := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(way.CloseIdleConnections)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: way, Jar: jar}
}

// TestV71_APersonLogsInByABrowser at a real issuer, makes an access token there, and pushes with it what
// the group may push.
func TestV71_APersonLogsInByABrowser(t *testing.T) {
	t.Parallel()
	for shape, start := range startsWithIssuer {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			w, sso := startWithIssuer(t, start)
			secret := w.tokenByBrowser(t, sso, corpLogin, "max")
			as := func(name string) repository {
				return repository{deployment{base: w.registry(devHost), client: &http.Client{Transport: authorized{w.client.Transport, "max", secret}}}, name}
			}
			img := ocitest.NewImage(71, 500)
			as("foo/img/a").pushImage(t, img, "1")
			other := as("foo/other")
			other.send(t, request{method: http.MethodPost, target: other.at("blobs/uploads/")}).want(t, http.StatusForbidden, http.StatusNotFound, http.StatusUnauthorized)
			w.stop(t)
			w.wantSound(t)
		})
	}
}

// silentUntil takes requests, and answers none before the end.
func silentUntil(end <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	})
}

// TestV76_NothingElseDependsOnAnIssuer that hangs, also at the start: who logs in otherwise does not
// notice, and its own logins are told to come back.
func TestV76_NothingElseDependsOnAnIssuer(t *testing.T) {
	t.Parallel()
	w, sso := startWithIssuer(t, func(t *testing.T, seed string, e edit) *world { t.Helper(); return startEmbedded(t, seed, e) })
	hanging := make(chan struct{})
	t.Cleanup(func() { close(hanging) })
	sso.Between(func(http.Handler) http.Handler { return silentUntil(hanging) })
	at := repository{deployment: deployment{base: w.adminURL(t), client: browser(t, sso)}}
	waits := make(chan answer, 1)
	go func() {
		a, _ := at.try(request{method: http.MethodGet, target: corpLogin})
		waits <- a
	}()
	img := ocitest.NewImage(76, 500)
	for range 5 {
		w.repository(devHost, "suite", "foo/img/a").pushImage(t, img, "1")
		stranger := w.repository(devHost, "suite", "foo/img/a")
		stranger.client = &http.Client{Transport: authorized{w.client.Transport, "max", "a password"}}
		stranger.get(t, "/token?scope=repository:foo/img/a:pull").want(t, http.StatusUnauthorized)
		at.send(t, request{method: http.MethodPost, target: "/v1/sessions", body: []byte(`{"tenant": "acme", "login": "suite", "password": "` + accountSecret + `"}`)}).want(t, http.StatusOK)
	}
	if a := <-waits; a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("a login at the issuer: %d %s", a.status, a.body)
	}
	sso.Between(nil)
	w.stop(t)
}

// TestV80_ADevicePullsWithItsToken: who logs in at a real issuer for a terminal gets an access token,
// which pushes and pulls what the group may.
func TestV80_ADevicePullsWithItsToken(t *testing.T) {
	t.Parallel()
	for shape, start := range startsWithIssuer {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			w, sso := startWithIssuer(t, start)
			at := repository{deployment: deployment{base: w.adminURL(t), client: browser(t, sso)}}
			post := func(path, body string) answer {
				return at.send(t, request{method: http.MethodPost, target: path, body: []byte(body)}).want(t, http.StatusOK)
			}
			var begun struct {
				Code string `json:"device_code"`
				At   string `json:"verification_uri_complete"`
			}
			mustAll(t, json.Unmarshal(post("/v1/login/device", `{"tenant": "acme"}`).body, &begun))
			person := repository{deployment: deployment{base: sso.URL, client: at.client}}
			person.get(t, strings.TrimPrefix(begun.At, sso.URL)).want(t, http.StatusOK)
			var done struct {
				User  string
				Token struct{ Secret string } `json:"access_token"`
			}
			mustAll(t, json.Unmarshal(post("/v1/login/device/token", `{"device_code": "`+begun.Code+`"}`).body, &done))
			if done.User != "users/max" {
				t.Errorf("%+v", done)
			}
			as := repository{deployment{base: w.registry(devHost), client: &http.Client{Transport: authorized{w.client.Transport, "max", done.Token.Secret}}}, "foo/img/a"}
			as.pushImage(t, ocitest.NewImage(80, 500), "1")
			as.get(t, as.at("manifests/1")).want(t, http.StatusOK)
			stranger := repository{deployment{base: w.registry(devHost), client: &http.Client{Transport: authorized{w.client.Transport, "max", done.Token.Secret + "x"}}}, "foo/img/a"}
			stranger.send(t, request{method: http.MethodGet, target: stranger.at("manifests/1")}).want(t, http.StatusUnauthorized)
			w.stop(t)
			w.wantSound(t)
		})
	}
}
