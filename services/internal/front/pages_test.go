package front_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

const someDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// corsHeaders are those that let a page have an answer.
func corsHeaders(h http.Header) []string {
	var found []string
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// counted are services that count who comes through.
func counted(n *int) front.Services {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { *n++; w.WriteHeader(http.StatusOK) })
	return front.Services{Registry: h, Upload: h, Token: h, Proxy: h}
}

// What a page of another origin sends reaches no service, whatever it asks for
// and whatever browser sends it: also the token endpoint, where it could have an
// account locked out.
func TestS60_PagesReachNoService(t *testing.T) {
	d := fronttest.New(t)
	d.Tenant("acme", tenant.Settings{AnonymousPull: true, AnonymousPush: true})
	reached := 0
	d.Serve(counted(&reached))
	pages := map[string]http.Header{
		"by its origin":          fronttest.Headers("Origin", "https://evil.tld"),
		"of a file":              fronttest.Headers("Origin", "null"),
		"of another port":        fronttest.Headers("Origin", "http://acme.localhost:3000", "Sec-Fetch-Site", "same-site"),
		"without an origin":      fronttest.Headers("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"),
		"of another tenant":      fronttest.Headers("Sec-Fetch-Site", "same-site"),
		"with another's Basic":   fronttest.Headers("Origin", "https://evil.tld", "Authorization", "Basic Y2k6c2VjcmV0"),
		"as a WebSocket":         fronttest.Headers("Origin", "https://evil.tld", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-Fetch-Mode", "websocket"),
		"that asks for approval": fronttest.Headers("Origin", "https://evil.tld", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Private-Network", "true"),
	}
	for what, header := range pages {
		for _, path := range []string{
			"/v2/", "/v2/a/manifests/x", "/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/?mount=" + someDigest + "&from=b", "/v2/a/blobs/" + someDigest,
			"/v2/_catalog", "/v2/proxy/docker.io/a/manifests/x", "/v2/a/manifests/x?ns=docker.io", "/token", "/token?scope=repository:a:push",
		} {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
				got := d.Do(fronttest.Request{Method: method, Host: "acme.localhost", Path: path, Header: header.Clone()})
				if got.Status != http.StatusForbidden || len(corsHeaders(got.Header)) > 0 {
					t.Errorf("a page %s: %s %s: %d %v", what, method, path, got.Status, corsHeaders(got.Header))
				}
			}
		}
	}
	if reached > 0 {
		t.Errorf("%d requests reached a service", reached)
	}
	got := d.Do(fronttest.Request{Host: "nobody.localhost", Path: "/v2/", Header: fronttest.Headers("Origin", "https://evil.tld")})
	if got.Status != http.StatusNotFound {
		t.Errorf("at an unknown host: %d", got.Status)
	}
}

// A token is not part of a reader's position in the network.
func TestS60_ATokenIsJudgedByItself(t *testing.T) {
	d := fronttest.New(t)
	site := d.Tenant("acme", tenant.Settings{})
	reached := 0
	d.Serve(counted(&reached))
	p := d.Account(site, "ci", access.Writer)
	token := d.Token(site, p, access.Repository("a", access.Pull))
	got := d.Do(fronttest.Request{Host: "acme.localhost", Path: "/v2/a/tags/list", Bearer: token, Header: fronttest.Headers("Origin", "https://evil.tld")})
	if got.Status != 200 || reached != 1 || len(corsHeaders(got.Header)) > 0 {
		t.Errorf("%d, %d reached, %v", got.Status, reached, corsHeaders(got.Header))
	}
}

func TestS61_NamedOriginsAlone(t *testing.T) {
	const ui = "https://ui.example.com"
	d := fronttest.New(t)
	d.Tenant("acme", tenant.Settings{AnonymousPull: true})
	d.Origins = web.Origins{ui}
	reached := 0
	d.Serve(counted(&reached))
	got := d.Do(fronttest.Request{Host: "acme.localhost", Path: "/v2/a/tags/list", Header: fronttest.Headers("Origin", ui, "Sec-Fetch-Site", "cross-site")})
	if got.Status != 200 || got.Header.Get("Access-Control-Allow-Origin") != ui || got.Header.Get("Access-Control-Allow-Credentials") != "" ||
		!strings.Contains(got.Header.Get("Access-Control-Expose-Headers"), "Docker-Content-Digest") || !strings.Contains(got.Header.Get("Vary"), "Origin") {
		t.Errorf("%d %v", got.Status, got.Header)
	}
	preflight := func(origin, host string) fronttest.Answer {
		return d.Do(fronttest.Request{Method: "OPTIONS", Host: host, Path: "/v2/a/manifests/x", Header: fronttest.Headers("Origin", origin,
			"Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "authorization", "Access-Control-Request-Private-Network", "true")})
	}
	got = preflight(ui, "acme.localhost")
	if got.Status != 204 || got.Header.Get("Access-Control-Allow-Origin") != ui || got.Header.Get("Access-Control-Allow-Methods") != "PUT" ||
		got.Header.Get("Access-Control-Allow-Private-Network") != "true" || got.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight: %d %v", got.Status, got.Header)
	}
	for _, origin := range []string{"https://evil.tld", "http://ui.example.com", "https://ui.example.com:8443", "null", "https://UI.example.com"} {
		if got := preflight(origin, "acme.localhost"); got.Status != 403 || len(corsHeaders(got.Header)) > 0 {
			t.Errorf("preflight of %s: %d %v", origin, got.Status, got.Header)
		}
	}
	if got := preflight(ui, "nobody.localhost"); got.Status != 404 || len(corsHeaders(got.Header)) > 0 {
		t.Errorf("preflight at an unknown host: %d %v", got.Status, got.Header)
	}
}
