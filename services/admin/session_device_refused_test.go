package admin

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/tools/testserver"
)

// TestV83_AnIssuerThatIsDownRefusesNoDevice: it is told to come back, and its login is finished then.
func TestV83_AnIssuerThatIsDownRefusesNoDevice(t *testing.T) {
	w := withIssuers(t)
	d := w.device(deviceOfCorp)
	w.corp.ApprovesDevice(t, d.UserCode)
	w.corp.Between(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) })
	})
	if resp, said := d.ask(); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v", resp.Status, said)
	}
	if resp, text := w.send("", "POST", devicePath, deviceOfCorp); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s %s", resp.Status, text)
	}
	w.corp.Between(nil)
	d.token("max")
}

// TestV84_LoginsOfDevicesAreBounded, and come neither from pages of other origins nor by plain HTTP.
func TestV84_LoginsOfDevicesAreBounded(t *testing.T) {
	w := withIssuers(t)
	for _, c := range []struct {
		body string
		want int
	}{
		{"", 400},
		{"[]", 400},
		{`{"tenant": "acme", "other": 1}`, 400},
		{`{"tenant": "acme"}`, 400}, // has two
		{`{"tenant": "` + strings.Repeat("a", maxLogin) + `"}`, 400},
		{`{"tenant": "none"}`, 404},
		{`{"tenant": "acme", "provider": "identityProviders/corp"}`, 404},
		{`{"tenant": "other", "provider": "identityProviders/second"}`, 404},
		{`{"tenant": "acme", "provider": "identityProviders/second", "ttl": "1h"}`, 400},
		{`{"tenant": "acme", "provider": "identityProviders/second", "ttl": "0s"}`, 400},
		{`{"tenant": "acme", "provider": "identityProviders/second", "ttl": "99999999s"}`, 400},
		{`{"tenant": "acme", "provider": "identityProviders/second", "description": "a\u0000b"}`, 400},
		{`{"tenant": "acme", "provider": "identityProviders/second", "description": "` + strings.Repeat("a", 201) + `"}`, 400},
	} {
		if resp, text := w.send("", "POST", devicePath, c.body); resp.StatusCode != c.want {
			t.Errorf("%.100s: %s %s", c.body, resp.Status, text)
		}
	}
	for _, path := range []string{devicePath, deviceEndPath} {
		if resp, _ := w.send("", "GET", path, ""); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" {
			t.Errorf("GET %s: %s", path, resp.Status)
		}
		if resp, text := w.send("", "POST", path, deviceOfCorp, "Sec-Fetch-Site: cross-site"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s of another origin: %s %s", path, resp.Status, text)
		}
	}
	begun := 0
	for range maxDeviceLogins + 5 {
		resp, text := w.send("", "POST", devicePath, deviceOfCorp)
		switch resp.StatusCode {
		case http.StatusOK:
			begun++
		case http.StatusTooManyRequests:
			if resp.Header.Get("Retry-After") == "" {
				t.Errorf("%s", text)
			}
		default:
			t.Fatalf("%s %s", resp.Status, text)
		}
	}
	if begun == 0 || begun > maxDeviceLogins {
		t.Errorf("%d were begun", begun)
	}
	w.device(`{"tenant": "other"}`)
	handler := listenerOf("http").Wrap(w.server)
	w.serveREST(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.RemoteAddr, r.Host = "192.0.2.1:4711", "127.0.0.1:5080"
		handler.ServeHTTP(rw, r)
	}))
	for _, path := range []string{devicePath, deviceEndPath} {
		if resp, text := w.send("", "POST", path, deviceOfCorp); resp.StatusCode != http.StatusForbidden || !strings.Contains(string(text), "logins need TLS") {
			t.Errorf("%s by plain HTTP: %s %s", path, resp.Status, text)
		}
	}
}

// TestV85_AnIDTokenOfADeviceIsChecked as one of a browser is.
func TestV85_AnIDTokenOfADeviceIsChecked(t *testing.T) {
	w := withIssuers(t)
	w.browser().enters(atCorp, "max")
	before := w.state()
	for what, claims := range map[string]map[string]any{
		"none":                {"": nil},
		"for another client":  {"aud": "another"},
		"of another issuer":   {"iss": w.second.URL},
		"that has expired":    {"exp": time.Now().Add(-time.Second).Unix()},
		"of the future":       {"iat": time.Now().Add(time.Hour).Unix()},
		"without a sub":       {"sub": nil},
		"of another party":    {"azp": "another"},
		"with a large groups": {"groups": make([]string, 10_001)},
	} {
		d := w.device(deviceOfCorp)
		w.corp.ApprovesDevice(t, d.UserCode)
		w.corp.Between(withDeviceToken(t, w.corp, claims))
		if resp, said := d.ask(); resp.StatusCode != http.StatusUnauthorized || said["access_token"] != nil {
			t.Errorf("an ID token %s: %s %v", what, resp.Status, said)
		}
		w.corp.Between(nil)
	}
	if after := w.state(); after != before {
		t.Errorf("something changed: %s", after)
	}
	w.call(200, "PATCH", "/v1/tenants/acme/users/max?update_mask=disabled", `{"disabled": true}`)
	d := w.device(deviceOfCorp)
	w.corp.ApprovesDevice(t, d.UserCode)
	if resp, said := d.ask(); resp.StatusCode != http.StatusUnauthorized || said["access_token"] != nil {
		t.Errorf("who is disabled: %s %v", resp.Status, said)
	}
}

// withDeviceToken gives a device an ID token of max with these claims; without one for the name "".
func withDeviceToken(t *testing.T, o *testserver.OpenID, claims map[string]any) func(http.Handler) http.Handler {
	t.Helper()
	return func(issuer http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/oauth/token" {
				issuer.ServeHTTP(w, r)
				return
			}
			got := httptest.NewRecorder()
			issuer.ServeHTTP(got, r)
			var body map[string]any
			if err := json.Unmarshal(got.Body.Bytes(), &body); err != nil {
				t.Error(err)
			}
			all := map[string]any{"sub": "s-max", "preferred_username": "Max", "groups": []string{}}
			maps.Copy(all, claims)
			body["id_token"] = o.Token(t, all)
			if _, none := claims[""]; none {
				delete(body, "id_token")
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(body)
		})
	}
}
