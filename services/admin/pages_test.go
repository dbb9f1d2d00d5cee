package admin

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// sendTo is a request to the REST listener under a host name, with the header.
func (a *api) sendTo(host, method, path, body string, header http.Header) (int, http.Header, string) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Host = host
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

// A form that a page sends needs no approval of the listener. It changes nothing,
// of whatever type it says to be, and no page is told anything.
func TestS60_FormsOfPagesChangeNothing(t *testing.T) {
	a := newAPI(t)
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json", ""} {
		for _, header := range []http.Header{
			{"Origin": {"https://evil.tld"}},
			{"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-User": {"?1"}},
			{"Origin": {"https://evil.tld"}, "Authorization": {"Basic b3BlcmF0b3I6eA=="}},
			{"Sec-Fetch-Site": {"same-site"}},
		} {
			header.Set("Content-Type", kind)
			for _, method := range []string{"POST", "PATCH", "DELETE", "GET", "OPTIONS"} {
				code, got, text := a.sendTo("localhost:5080", method, "/v1/tenants?tenant_id=evil", `{"display_name": "="}`, header)
				if code != http.StatusForbidden || !strings.Contains(text, "web page of another origin") {
					t.Errorf("%s of %v: %d %s", method, header, code, text)
				}
				for name := range got {
					if strings.HasPrefix(name, "Access-Control-") {
						t.Errorf("%s of %v: %s", method, header, name)
					}
				}
			}
		}
	}
	if found := a.call(200, "GET", "/v1/tenants", "")["tenants"].([]any); len(found) > 0 {
		t.Errorf("there are tenants: %v", found)
	}
	// What a program sends is taken whatever type it says, as curl does.
	code, _, text := a.sendTo("berth-admin:5080", "POST", "/v1/tenants?tenant_id=acme", `{}`,
		http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Bearer " + operatorToken}})
	if code != http.StatusOK {
		t.Errorf("a program: %d %s", code, text)
	}
}

// A name that someone else has lead to this machine opens nothing, whatever
// credential comes with it: also not the API's description.
func TestS62_AdminAnswersAtItsOwnHosts(t *testing.T) {
	a := newAPI(t)
	for _, path := range []string{"/v1/tenants", "/openapi.json", "/openapi-3.1.json", "/"} {
		for _, host := range []string{"evil.tld", "evil.tld:5080", "localhost.evil.tld", "127.0.0.1.evil.tld"} {
			code, _, text := a.sendTo(host, "GET", path, "", http.Header{"Authorization": {"Bearer " + operatorToken}})
			if code != http.StatusMisdirectedRequest || !strings.Contains(text, "admin_hosts") || strings.Contains(text, "tenants") {
				t.Errorf("%s of %s: %d %s", path, host, code, text)
			}
		}
	}
	for _, host := range []string{"localhost", "127.0.0.1:5080", "[::1]", "berth-admin", "berth-admin.berth.svc.cluster.local"} {
		if code, _, text := a.sendTo(host, "GET", "/v1/tenants", "", http.Header{"Authorization": {"Bearer " + operatorToken}}); code != http.StatusOK {
			t.Errorf("%s: %d %s", host, code, text)
		}
	}
}
