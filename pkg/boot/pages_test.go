package boot

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestS62_OpsAnswersAtItsOwnHosts(t *testing.T) {
	c := Default()
	c.AdminHosts = []string{"berth.corp.example"}
	h := opsHandler(newMetrics(), &Health{}, c.OperatorHosts())
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/else"} {
		ask := func(host, origin string) (int, string) {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = host
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code, w.Body.String()
		}
		if code, text := ask("evil.tld:5090", ""); code != http.StatusMisdirectedRequest || !strings.Contains(text, "admin_hosts") {
			t.Errorf("%s of another host: %d %s", path, code, text)
		}
		if code, _ := ask("localhost:5090", "https://evil.tld"); code != http.StatusForbidden {
			t.Errorf("%s for a page: %d", path, code)
		}
		for _, host := range []string{"10.1.2.3:5090", "berth", "berth.corp.example"} {
			if code, _ := ask(host, ""); code != http.StatusOK && path != "/else" {
				t.Errorf("%s of %s: %d", path, host, code)
			}
		}
	}
}

func TestS61_OriginsAndHostsAreChecked(t *testing.T) {
	for origin, good := range map[string]bool{
		"https://ui.example.com": true, "http://localhost:3000": true, "https://[::1]:8443": true,
		"*": false, "null": false, "https://*.example.com": false, "https://UI.example.com": false, "https://ui.example.com/": false,
		"ui.example.com": false, "ftp://ui.example.com": false, "https://u:p@ui.example.com": false, "https://ui.example.com:443": false, "": false,
	} {
		c := Default()
		c.CORSOrigins = []string{origin}
		if err := c.Check(); (err == nil) != good || err != nil && !strings.Contains(err.Error(), "cors_origins") {
			t.Errorf("cors_origins %q: %v", origin, err)
		}
	}
	for host, good := range map[string]bool{
		"berth.example.com": true, "*.example.com": true, "berth.example.com:5080": false, "*": false, "Berth.example.com": false, "": false, "*.*.example.com": false,
	} {
		c := Default()
		c.AdminHosts = []string{host}
		if err := c.Check(); (err == nil) != good || err != nil && !strings.Contains(err.Error(), "admin_hosts") {
			t.Errorf("admin_hosts %q: %v", host, err)
		}
	}
}
