package admin

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestU103_SessionsAreListedAndEndedByTheirOwners and by admins of their tenants.
func TestU103_SessionsAreListedAndEndedByTheirOwners(t *testing.T) {
	a := newAPI(t)
	a.withAlice()
	a.call(200, "POST", ofAcme+"?user_id=bob", `{"role": "MEMBER", "password": "correct horse"}`)
	alice, other, operator := a.session(asAlice), a.session(asAlice), a.session(asOperator)
	ofBob := a.session(strings.ReplaceAll(asAlice, "alice", "bob"))
	names := func(cookie string) []string {
		var got []string
		for _, part := range strings.Split(a.with(cookie, 200, "GET", "/v1/sessions", ""), `"sessions/`)[1:] {
			name, _, _ := strings.Cut(part, `"`)
			got = append(got, name)
		}
		return got
	}
	if n := len(names(alice)); n != 2 {
		t.Errorf("alice has %d", n)
	}
	if text := a.with(alice, 200, "GET", "/v1/sessions", ""); strings.Count(strings.ReplaceAll(text, " ", ""), `"current":true`) != 1 || strings.Contains(text, sessionPrefix) {
		t.Errorf("%s", text)
	}
	a.with(alice, 404, "DELETE", "/v1/sessions/"+names(ofBob)[0], "")
	a.with(alice, 200, "DELETE", ofAcme+"/bob/sessions/"+names(ofBob)[0], "") // as an admin
	a.with(ofBob, 401, "GET", "/v1/sessions", "")
	resp, text := a.send("", "DELETE", "/v1/sessions/current", "", "Cookie: "+alice)
	if c := resp.Cookies(); resp.StatusCode != 200 || len(c) != 1 || c[0].MaxAge >= 0 || c[0].Value != "" {
		t.Errorf("%s %+v: %s", resp.Status, c, text)
	}
	a.with(alice, 401, "GET", "/v1/sessions", "")
	third := a.session(asAlice)
	left := slices.DeleteFunc(names(other), func(name string) bool { return !slices.Contains(names(third), name) })
	a.with(other, 200, "DELETE", "/v1/sessions/"+left[0], "")
	fourth := a.session(asAlice)
	a.with(fourth, 200, "DELETE", "/v1/sessions", "") // logout everywhere
	for _, cookie := range []string{other, third, fourth} {
		a.with(cookie, 401, "GET", "/v1/sessions", "")
	}
	a.with(operator, 200, "GET", "/v1/tenants", "")
	a.call(400, "DELETE", "/v1/sessions/current", "") // a token has none
	for call, want := range map[string]int{"DELETE /v1/sessions/a/b": 404, "DELETE /v1/sessions/": 404, "PUT /v1/sessions": 405, "GET /v1/sessions/a": 405} {
		method, path, _ := strings.Cut(call, " ")
		if resp, _ := a.send(operatorToken, method, path, ""); resp.StatusCode != want {
			t.Errorf("%s: %s", call, resp.Status)
		}
	}
}

// TestU104_ASessionHasTheRightsOfThisMoment, by what is changed of its account.
func TestU104_ASessionHasTheRightsOfThisMoment(t *testing.T) {
	a := newAPI(t)
	a.withAlice()
	secret := a.call(200, "POST", aliceItself+"/accessTokens", "")
	byToken := a.session(fmt.Sprintf(`{"token": %q}`, secret["secret"]))
	own := a.session(asAlice)
	a.with(own, 200, "GET", ofAcme, "")
	a.call(200, "PATCH", aliceItself, `{"role": "MEMBER"}`)
	a.with(own, 403, "GET", ofAcme, "")
	a.call(200, "PATCH", aliceItself, `{"role": "ADMIN"}`)
	a.with(byToken, 200, "GET", ofAcme, "")
	a.call(200, "DELETE", "/v1/"+secret["name"].(string), "")
	a.with(byToken, 401, "GET", ofAcme, "")
	other := a.session(asAlice)
	a.with(own, 200, "PATCH", aliceItself, `{"password": "another horse"}`) // its own: it stays
	a.with(own, 200, "GET", ofAcme, "")
	a.with(other, 401, "GET", ofAcme, "")
	a.call(200, "PATCH", aliceItself, `{"password": "correct horse"}`)
	a.with(own, 401, "GET", ofAcme, "")
	for _, c := range [][3]string{{"PATCH", aliceItself, `{"disabled": true}`}, {"POST", aliceItself + ":revokeTokens", "{}"}, {"DELETE", aliceItself, ""}} {
		cookie := a.session(asAlice)
		a.with(cookie, 200, "GET", ofAcme, "")
		a.call(200, c[0], c[1], c[2])
		a.with(cookie, 401, "GET", ofAcme, "")
		if c[0] == "PATCH" {
			a.call(200, "PATCH", aliceItself, `{"disabled": false}`)
		}
	}
	nameless := a.session(asOperator)
	a.with(nameless, 200, "GET", "/v1/tenants", "")
	b := serveAPI(t, a.store, func(c *Config, _ *Options) { c.OperatorToken = "another " + operatorToken })
	b.with(nameless, 401, "GET", "/v1/tenants", "") // the operator token is another one
}
