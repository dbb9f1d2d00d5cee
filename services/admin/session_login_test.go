package admin

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/audit"
	"github.com/berth-registry/berth/services/token"
)

// TestU106_LoginsFailAlike whatever is wrong with them, are limited, and told of in the log.
func TestU106_LoginsFailAlike(t *testing.T) {
	var refusals *audit.Refusals
	a := newAPI(t, func(c *Config, o *Options) {
		refusals = audit.New(c.Store, slog.New(slog.DiscardHandler))
		c.Logins.(*token.Authenticator).WithRefusals(refusals)
		o.Refusals = refusals
	})
	a.withAlice()
	a.call(200, "POST", "/v1/tenants/acme/users?user_id=nopass", `{"role": "ADMIN"}`)
	a.call(200, "POST", "/v1/tenants?tenant_id=stopped", "")
	a.call(200, "POST", "/v1/tenants/stopped/users?user_id=alice", `{"role": "ADMIN", "password": "correct horse"}`)
	a.call(200, "POST", "/v1/tenants/stopped:suspend", "")
	a.listener("http")
	var first string
	for _, body := range []string{
		`{"tenant": "acme", "login": "alice", "password": "wrong horse"}`,
		`{"tenant": "acme", "login": "missing", "password": "wrong horse"}`,
		`{"tenant": "acme", "login": "nopass", "password": ""}`,
		`{"tenant": "none", "login": "alice", "password": "correct horse"}`,
		`{"tenant": "stopped", "login": "alice", "password": "correct horse"}`,
		`{"tenant": "\u0000", "login": "\u0000", "password": "\u0000"}`,
	} {
		resp, text := a.send("", "POST", "/v1/sessions", body)
		if first == "" {
			first = string(text)
		}
		if resp.StatusCode != 401 || string(text) != first || len(resp.Cookies()) != 0 {
			t.Errorf("%s: %s %s", body, resp.Status, text)
		}
	}
	for _, body := range []string{``, `[]`, `{}`, `{"tenant": "acme"`, `{"user": "x"}`, `{"token": "x", "login": "alice"}`, strings.Repeat(" ", maxLogin) + asAlice} {
		if resp, text := a.send("", "POST", "/v1/sessions", body); resp.StatusCode != 400 {
			t.Errorf("%.40s: %s %s", body, resp.Status, text)
		}
	}
	if resp, _ := a.send("", "POST", "/v1/sessions", `{"token": "berth_wrong"}`); resp.StatusCode != 401 {
		t.Errorf("a wrong token: %s", resp.Status)
	}
	statuses := map[int]int{}
	for range token.MaxFailures + 5 {
		resp, _ := a.send("", "POST", "/v1/sessions", `{"tenant": "acme", "login": "alice", "password": "wrong horse"}`)
		statuses[resp.StatusCode]++
	}
	if statuses[401] == 0 || statuses[429] == 0 || statuses[401]+statuses[429] != token.MaxFailures+5 {
		t.Errorf("statuses %v", statuses)
	}
	refusals.Flush(t.Context())
	for path, want := range map[string]string{"/v1/tenants/acme/events": `"alice"`, "/v1/events": unknownActor} {
		resp, text := a.send(operatorToken, "GET", path+"?filter=verb%3D%22login.fail%22", "")
		if resp.StatusCode != 200 || !strings.Contains(string(text), want) || strings.Contains(string(text), "horse") {
			t.Errorf("%s: %s %s", path, resp.Status, text)
		}
	}
}

// TestU106_LoginsAreEvents, and so is the end of a session.
func TestU106_LoginsAreEvents(t *testing.T) {
	a := newAPI(t)
	a.withAlice()
	a.call(200, "PATCH", "/v1/tenants/acme", `{"disable_password_login": true}`) // of clients of registries
	a.listener("http")
	cookie := a.session(asAlice)
	a.with(cookie, 200, "DELETE", "/v1/sessions/current", "")
	tn, err := a.store.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	events, err := a.store.ListEvents(t.Context(), tn.ID, meta.Page{Size: 2})
	if err != nil || len(events) != 2 {
		t.Fatal(events, err)
	}
	for i, verb := range []string{"session.delete", "session.create"} {
		if e := events[i]; e.Verb != verb || e.Actor != "users/alice" || !strings.HasPrefix(e.Target, "users/alice/sessions/") || e.Address != "127.0.0.1" || e.RequestID == "" || e.UserAgent == "" || e.Changes == "" {
			t.Errorf("%+v", e)
		}
	}
}
