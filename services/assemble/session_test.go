package assemble_test

import (
	"encoding/json"
	"net/http"
	"testing"
)

// TestU104_SessionsAndOperatorsCountOnAllNodes and end on all: what one node makes, another
// takes and ends. On the data port they are no credential (U102).
func TestU104_SessionsAndOperatorsCountOnAllNodes(t *testing.T) {
	t.Parallel()
	w := startWhole(t, rulesSeed, "")
	send := func(base, method, path, body string, client *http.Client, header ...string) answer {
		t.Helper()
		r := repository{deployment: deployment{base: base, client: client}}
		return r.send(t, request{method: method, target: path, body: []byte(body), header: headers(header...)})
	}
	admin := func(n *node, method, path, body string, header ...string) answer {
		t.Helper()
		return send("http://"+n.at("admin_addr"), method, path, body, http.DefaultClient, header...)
	}
	everywhere := func(want int, header ...string) {
		t.Helper()
		for _, n := range w.nodes {
			admin(n, http.MethodGet, "/v1/tenants/acme/serviceAccounts", "", header...).want(t, want)
		}
	}
	made := admin(w.nodes[0], http.MethodPost, "/v1/sessions", `{"tenant": "acme", "login": "suite", "password": "`+accountSecret+`"}`).want(t, http.StatusOK)
	cookies := (&http.Response{Header: made.header}).Cookies()
	if len(cookies) != 1 {
		t.Fatalf("cookies %v", cookies)
	}
	cookie := cookies[0].Name + "=" + cookies[0].Value
	everywhere(http.StatusOK, "Cookie", cookie)
	for _, n := range w.nodes {
		at := w.through(t, n)
		send(at.registry(devHost), http.MethodGet, "/v2/_catalog", "", at.client, "Cookie", cookie).want(t, http.StatusUnauthorized)
		send(at.registry(devHost), http.MethodGet, "/v2/_catalog", "", at.client, "Authorization", "Bearer "+cookies[0].Value).want(t, http.StatusUnauthorized)
	}
	admin(w.nodes[1], http.MethodDelete, "/v1/sessions/current", "", "Cookie", cookie).want(t, http.StatusOK)
	everywhere(http.StatusUnauthorized, "Cookie", cookie)

	w.admin(t, http.MethodPost, "/v1/operators?operator_id=alice", nil).want(t, http.StatusOK)
	var token struct{ Secret string }
	mustAll(t, json.Unmarshal(w.admin(t, http.MethodPost, "/v1/operators/alice/tokens", map[string]any{}).want(t, http.StatusOK).body, &token))
	everywhere(http.StatusOK, "Authorization", "Bearer "+token.Secret)
	admin(w.nodes[2], http.MethodPatch, "/v1/operators/alice", `{"disabled": true}`, "Authorization", "Bearer "+secret).want(t, http.StatusOK)
	everywhere(http.StatusUnauthorized, "Authorization", "Bearer "+token.Secret)
	w.stop(t)
}
