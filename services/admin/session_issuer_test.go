package admin

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/tools/testserver"
)

// TestB12_OnlyTheWholeFlowOfOneBrowserCounts: each mutation of it is refused, and changes nothing.
func TestB12_OnlyTheWholeFlowOfOneBrowserCounts(t *testing.T) {
	w := withIssuers(t)
	w.browser().enters(atCorp, "max")
	before := w.state()
	refused := func(what string, resp *http.Response, text string) {
		t.Helper()
		if resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s %s", what, resp.Status, text)
		}
		for _, c := range resp.Cookies() {
			if c.Name != "berth-login" {
				t.Errorf("%s: the cookie %s", what, c.Name)
			}
		}
	}
	for what, mutate := range map[string]func(b *browser, back url.Values){
		"without a state":            func(_ *browser, back url.Values) { back.Del("state") },
		"an empty state":             func(_ *browser, back url.Values) { back.Set("state", "") },
		"another state":              func(_ *browser, back url.Values) { back.Set("state", "another") },
		"two states":                 func(_ *browser, back url.Values) { back.Add("state", back.Get("state")) },
		"the state of another":       func(_ *browser, back url.Values) { back.Set("state", w.browser().back(atCorp).Get("state")) },
		"the response to another":    func(_ *browser, back url.Values) { maps.Copy(back, w.browser().back(atCorp)) },
		"the code of another":        func(_ *browser, back url.Values) { back.Set("code", w.browser().back(atCorp).Get("code")) },
		"the code of another issuer": func(_ *browser, back url.Values) { back.Set("code", w.browser().back(atSecond).Get("code")) },
		"without a code":             func(_ *browser, back url.Values) { back.Del("code") },
		"a code that none gave":      func(_ *browser, back url.Values) { back.Set("code", "code") },
		"two codes":                  func(_ *browser, back url.Values) { back.Add("code", "code") },
		"of another issuer":          func(_ *browser, back url.Values) { back.Set("iss", w.second.URL) },
		"an error":                   func(_ *browser, back url.Values) { back.Set("error", "access_denied") },
		"without the cookie":         func(b *browser, _ url.Values) { b.client.Jar = w.browser().client.Jar },
		"the cookie of another": func(b *browser, _ url.Values) {
			other := w.browser()
			other.begin(atCorp)
			b.client.Jar = other.client.Jar
		},
		"another provider's login":  func(b *browser, _ url.Values) { b.begin(atSecond) },
		"another tenant's login":    func(b *browser, _ url.Values) { b.begin("tenant=other&provider=operator/identityProviders/corp") },
		"a cookie that is changed":  func(b *browser, _ url.Values) { b.setCookie(strings.Repeat("A", 200)) },
		"a cookie that is not ours": func(b *browser, _ url.Values) { b.setCookie("%%%") },
		"too late": func(b *browser, back url.Values) {
			b.setState(back.Get("state"), func(s *loginState) { s.Ends = time.Now().Add(-time.Second) })
		},
		"another verifier": func(b *browser, back url.Values) {
			b.setState(back.Get("state"), func(s *loginState) { s.Flow.Verifier += "x" })
		},
		"another host": func(b *browser, back url.Values) {
			b.setState(back.Get("state"), func(s *loginState) { s.Flow.Redirect = "http://localhost" + b.came })
		},
		"at the redirect URI of another": func(b *browser, _ url.Values) {
			other := w.browser()
			other.back(atSecond)
			b.came = other.came
		},
		"without its redirect URI": func(b *browser, _ url.Values) { b.came = "/v1/login/callback/" },
		"another nonce": func(b *browser, back url.Values) {
			b.setState(back.Get("state"), func(s *loginState) { s.Flow.Nonce = "another" })
		},
		"a tenant made later": func(b *browser, back url.Values) { b.setState(back.Get("state"), func(s *loginState) { s.TenantID++ }) },
	} {
		b := w.browser()
		back := b.back(atCorp)
		mutate(b, back)
		resp, text := b.callback(back)
		refused(what, resp, text)
	}
	for what, mutate := range map[string]func(query url.Values){
		"for another client":        func(q url.Values) { q.Set("client_id", "another") },
		"with another redirect URI": func(q url.Values) { q.Set("redirect_uri", w.url+"/elsewhere") },
		"with another challenge":    func(q url.Values) { q.Set("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM") },
		"with another nonce":        func(q url.Values) { q.Set("nonce", "another") },
		"without a nonce":           func(q url.Values) { q.Del("nonce") },
	} {
		b := w.browser()
		at := b.begin(atCorp)
		query := at.Query()
		mutate(query)
		at.RawQuery = query.Encode()
		resp, text := b.callback(b.logIn(at))
		refused("at the issuer "+what, resp, text)
	}
	for what, claims := range map[string]map[string]any{
		"an ID token for another client": {"aud": "another"},
		"an ID token of another issuer":  {"iss": w.second.URL},
		"an ID token that has expired":   {"exp": time.Now().Add(-time.Second).Unix()},
		"an ID token of the future":      {"iat": time.Now().Add(time.Hour).Unix()},
		"groups in an object":            {"groups": map[string]any{"dev": true}},
		"groups of numbers":              {"groups": []int{1}},
		"too many groups":                {"groups": make([]string, 10_001)},
		"a group without a name":         {"groups": []string{""}},
		"groups in another place":        {"_claim_names": map[string]any{"groups": "src1"}},
	} {
		w.corp.Between(withToken(t, w.corp, claims))
		b := w.browser()
		resp, text := b.callback(b.back(atCorp))
		refused(what, resp, text)
		w.corp.Between(nil)
	}
	if after := w.state(); after != before {
		t.Errorf("something changed: %s", after)
	}
	b := w.browser()
	back := b.back(atCorp)
	jar := b.client.Jar.Cookies(b.at(""))
	if resp, text := b.callback(back); resp.StatusCode != http.StatusOK {
		t.Errorf("%s %s", resp.Status, text)
	}
	b.client.Jar.SetCookies(b.at(""), jar)
	resp, text := b.callback(back)
	refused("a second time", resp, text)
}

// withToken gives each login an ID token of max with these claims in place of the issuer's.
func withToken(t *testing.T, o *testserver.OpenID, claims map[string]any) func(http.Handler) http.Handler {
	t.Helper()
	var nonce any
	return func(issuer http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n := r.URL.Query().Get("nonce"); n != "" {
				nonce = n
			}
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
			all := map[string]any{"sub": "s-max", "nonce": nonce, "preferred_username": "Max", "groups": []string{}}
			if _, away := claims["_claim_names"]; away {
				delete(all, "groups")
			}
			maps.Copy(all, claims)
			body["id_token"] = o.Token(t, all)
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(body)
		})
	}
}

func (b *browser) at(path string) *url.URL {
	b.t.Helper()
	at, err := url.Parse(b.url + path)
	if err != nil {
		b.t.Fatal(err)
	}
	return at
}

func (b *browser) setCookie(value string) {
	b.t.Helper()
	b.client.Jar.SetCookies(b.at("/"), []*http.Cookie{{Name: "berth-login", Value: value, Path: "/"}})
}

// setState gives the browser the cookie of a login that is changed.
func (b *browser) setState(state string, change func(*loginState)) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(b.at("/")) {
		r.AddCookie(c)
	}
	found, err := b.service.openLogin(r, state)
	if found.Flow.State == "" {
		b.t.Fatal(err)
	}
	change(&found)
	text, err := json.Marshal(found)
	if err != nil {
		b.t.Fatal(err)
	}
	sealed, err := b.service.loginKeys.Seal(string(text), loginStates)
	if err != nil {
		b.t.Fatal(err)
	}
	b.setCookie(base64.RawURLEncoding.EncodeToString(sealed))
}

// TestB12_ASubjectIsOfItsIssuer: the same sub, name and address of two issuers are two users, and
// no address of a mail makes anyone another.
func TestB12_ASubjectIsOfItsIssuer(t *testing.T) {
	w := withIssuers(t)
	w.call(200, "POST", "/v1/tenants/acme/users?user_id=alice", `{"role": "ADMIN", "display_name": "alice@example.org", "password": "correct horse"}`)
	w.browser().enters(atCorp, "max")
	b := w.browser()
	if resp, text := b.callback(b.back(atSecond)); resp.StatusCode != http.StatusOK || !strings.Contains(text, "users/max-") {
		t.Errorf("%s %s", resp.Status, text)
	}
	w.corp.LogsIn("s-eve", "Eve", map[string]any{"email": "alice@example.org", "email_verified": true, "groups": "dev"})
	w.browser().enters(atCorp, "eve")
	w.corp.LogsIn("s-alice", "alice", map[string]any{"email": "alice@example.org", "email_verified": false})
	b = w.browser()
	if resp, text := b.callback(b.back(atCorp)); resp.StatusCode != http.StatusOK || strings.Contains(text, "users/alice.") || !strings.Contains(text, "users/alice-") {
		t.Errorf("the name of a user: %s %s", resp.Status, text)
	}
	w.corp.LogsIn("s-max", "Another", nil) // who was renamed
	w.browser().enters(atCorp, "max")
	if got := w.call(200, "GET", "/v1/tenants/acme/users", "")["users"].([]any); len(got) != 5 {
		t.Errorf("%v", got)
	}
	w.browser().enters("tenant=other&provider=operator/identityProviders/corp", "another")
}

// TestV79_ALoginEndsAtThisHost: no parameter sends a browser, or its cookies, to another one.
func TestV79_ALoginEndsAtThisHost(t *testing.T) {
	w := withIssuers(t)
	for _, path := range []string{"https://example.com", "//example.com", `/\example.com`, `\\example.com`, "example.com", "/a b", "/\t/example.com", "javascript:alert(1)", "/" + strings.Repeat("a", 500)} {
		resp, text := w.browser().get(w.url + loginPath + "?" + atCorp + "&return=" + url.QueryEscape(path))
		if resp.StatusCode != http.StatusBadRequest || len(resp.Cookies()) != 0 {
			t.Errorf("%s: %s %s", path, resp.Status, text)
		}
	}
	b := w.browser()
	resp, text := b.callback(b.back(atCorp + "&return=" + url.QueryEscape(`/ui/?a=1&b="><script>`)))
	if resp.StatusCode != http.StatusOK || !strings.Contains(text, `content="0; url=/ui/?a=1&amp;b=`) || strings.Contains(text, "<script>") {
		t.Errorf("%s %s", resp.Status, text)
	}
	var session *http.Cookie
	for _, c := range resp.Cookies() {
		if c.Name == loopbackCookie {
			session = c
		}
	}
	if session == nil || session.SameSite != http.SameSiteStrictMode || !session.HttpOnly || resp.Header.Get("Referrer-Policy") != "no-referrer" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v %v", session, resp.Header)
	}
	for _, query := range []string{"", "tenant=acme", "tenant=none&provider=operator/identityProviders/corp", "tenant=acme&provider=identityProviders/corp", "tenant=other&provider=identityProviders/second"} {
		if resp, text := w.browser().get(w.url + loginPath + "?" + query); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s %s", query, resp.Status, text)
		}
	}
	if resp, _ := w.send("", "POST", loginPath+"?"+atCorp, ""); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("by POST: %s", resp.Status)
	}
	w.listener("https")
	resp, text = w.browser().first(atCorp)
	for _, c := range resp.Cookies() {
		if c.Name != "__Host-berth-login" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("%+v", c)
		}
	}
	if len(resp.Cookies()) != 1 {
		t.Errorf("%s %s", resp.Status, text)
	}
}
