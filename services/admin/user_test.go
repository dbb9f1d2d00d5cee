package admin

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
)

const ofUsers = "/v1/tenants/acme/users"

// stored is the user as the store has it.
func (a *api) stored(t *testing.T, slug string) meta.Account {
	t.Helper()
	acme, err := a.store.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	u, err := a.store.FindAccount(t.Context(), acme.ID, access.UserKind, slug)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestU29_APasswordIsSetAndNeverShown(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	const secret = "correct horse battery"
	made := a.call(200, "POST", ofUsers+"?user_id=alice", `{"role": "WRITER", "password": "`+secret+`"}`)
	if made["has_password"] != true || made["name"] != "tenants/acme/users/alice" || made["role"] != "WRITER" {
		t.Errorf("made %v", made)
	}
	if hash := a.stored(t, "alice").Password; !strings.HasPrefix(hash, "$argon2id$") || strings.Contains(hash, secret) {
		t.Errorf("stored is %q", hash)
	}
	before := a.stored(t, "alice")
	for what, body := range map[string]string{
		"the same password": `{"password": "` + secret + `"}`, "as it was read": `{"role": "WRITER", "has_password": true}`,
	} {
		a.call(200, "PATCH", ofUsers+"/alice", body)
		if got := a.stored(t, "alice"); got != before {
			t.Errorf("%s changes %+v to %+v", what, before, got)
		}
	}
	a.call(200, "PATCH", ofUsers+"/alice", `{"password": "another password"}`)
	if got := a.stored(t, "alice"); got.Password == before.Password || got.Epoch != before.Epoch+1 {
		t.Errorf("another password: %+v", got)
	}
	if got := a.call(200, "PATCH", ofUsers+"/alice?update_mask=password", `{}`); got["has_password"] == true {
		t.Errorf("no password: %v", got)
	}
	_, events := a.send(operatorToken, "GET", "/v1/tenants/acme/events", "")
	for _, word := range []string{secret, "another password", "argon2id"} {
		if strings.Contains(string(events), word) {
			t.Errorf("the events have %q: %s", word, events)
		}
	}
	if !strings.Contains(string(events), "another secret") || !strings.Contains(string(events), "user.update") {
		t.Errorf("the events do not tell that the password was changed: %s", events)
	}
}

func TestU29_BadUsersAreRefused(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/serviceAccounts?service_account_id=ci", `{"role": "READER"}`)
	for body, field := range map[string]string{
		`{}`: `"role"`,
		`{"role": "MEMBER", "password": "123456789"}`:                            `"password"`,
		`{"role": "MEMBER", "password": "` + strings.Repeat("x", 257) + `"}`:     `"password"`,
		`{"role": "MEMBER", "password": "berth_1234567890"}`:                     `"password"`,
		`{"role": "MEMBER", "display_name": "` + strings.Repeat("x", 201) + `"}`: `"display_name"`,
	} {
		_, text := a.send(operatorToken, "POST", ofUsers+"?user_id=alice", body)
		if !strings.Contains(string(text), field) {
			t.Errorf("%.60s: %s", body, text)
		}
	}
	a.call(409, "POST", ofUsers+"?user_id=ci", `{"role": "MEMBER"}`)
	a.call(400, "POST", ofUsers+"?user_id=A", `{"role": "MEMBER"}`)
	if got := a.call(200, "GET", "/v1/tenants/acme/serviceAccounts", ""); len(got["service_accounts"].([]any)) != 1 {
		t.Errorf("%v", got)
	}
	a.call(200, "POST", ofUsers+"?user_id=alice&validate_only=true", `{"role": "MEMBER", "password": "1234567890"}`)
	a.call(404, "GET", ofUsers+"/alice", "")
}

func TestU30_AccessTokensAreShownOnceAndEnd(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", ofUsers+"?user_id=alice", `{"role": "ADMIN"}`)
	const tokens = ofUsers + "/alice/accessTokens"
	made := a.call(200, "POST", tokens, `{"description": "laptop"}`)
	secret, _ := made["secret"].(string)
	end, err := time.Parse(time.RFC3339, made["expire_time"].(string))
	if err != nil || !strings.HasPrefix(secret, "berth_") || time.Until(end).Round(time.Hour) != 90*24*time.Hour || made["description"] != "laptop" {
		t.Errorf("made %v, %v", made, err)
	}
	soon := a.call(200, "POST", tokens, `{"ttl": "60s"}`)
	for body, want := range map[string]int{`{"ttl": "0s"}`: 400, `{"ttl": "31622401s"}`: 400, `{"ttl": "31622400s"}`: 200} {
		a.call(want, "POST", tokens, body)
	}
	list := a.call(200, "GET", tokens, "")["access_tokens"].([]any)
	if len(list) != 3 || strings.Contains(strings.Join(strings.Fields(fmt.Sprint(list)), ""), secret) {
		t.Errorf("list %v", list)
	}
	before := "?expire_before=" + url.QueryEscape(time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	if list = a.call(200, "GET", tokens+before, "")["access_tokens"].([]any); len(list) != 1 || list[0].(map[string]any)["name"] != soon["name"] {
		t.Errorf("those that end within an hour: %v", list)
	}
	if resp, text := a.send(secret, "GET", ofUsers, ""); resp.StatusCode != 200 {
		t.Errorf("the token of an admin: %d %s", resp.StatusCode, text)
	}
	a.call(200, "DELETE", "/v1/"+made["name"].(string), "")
	if resp, _ := a.send(secret, "GET", ofUsers, ""); resp.StatusCode != 401 {
		t.Errorf("a deleted token: %d", resp.StatusCode)
	}
	a.call(200, "DELETE", "/v1/"+soon["name"].(string)+"?validate_only=true", "")
	a.call(404, "DELETE", "/v1/"+made["name"].(string), "")
	a.call(404, "DELETE", "/v1/tenants/acme/serviceAccounts/alice/keys/x", "")
}

func TestU31_SeedFilesHaveUsers(t *testing.T) {
	a := newAPI(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("alice.password", "correct horse battery\n")
	file := write("seed.yaml", `
tenants:
  - id: acme
    disable_password_login: true
    users:
      - {id: alice, role: WRITER, password_file: alice.password}
      - {id: bob, role: MEMBER}
    access_rules:
      - {id: rule, effect: ALLOW, principals: ["users/alice", "users/carol"], repositories: ["**"], actions: [PULL]}
`)
	wrong, elsewhere := CheckSeed(t.Context(), file, SeedCheck{})
	if len(wrong) != 0 || len(elsewhere) != 1 || !strings.Contains(elsewhere[0].Error(), `user "carol"`) {
		t.Errorf("%v, %v", wrong, elsewhere)
	}
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", ofUsers+"?user_id=carol", `{"role": "MEMBER"}`)
	var first meta.Account
	for i := range 2 {
		if err := a.service.Apply(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		got := a.stored(t, "alice")
		if i == 0 {
			first = got
		}
		if got != first || got.Password == "" || got.Role != access.Writer {
			t.Errorf("applied %d times: %+v", i+1, got)
		}
	}
	if a.call(200, "GET", "/v1/tenants/acme", "")["disable_password_login"] != true {
		t.Error("passwords are not switched off")
	}
	write("alice.password", "short")
	if wrong, _ = CheckSeed(t.Context(), file, SeedCheck{}); len(wrong) != 1 || !strings.Contains(wrong[0].Error(), "password_file") {
		t.Errorf("a short password: %v", wrong)
	}
	if wrong, _ = CheckSeed(t.Context(), write("inline.yaml", "tenants: [{id: acme, users: [{id: alice, role: READER, password: inline-password}]}]"), SeedCheck{}); len(wrong) == 0 {
		t.Error("a password in the file itself is taken")
	}
	twice := write("twice.yaml", "tenants: [{id: acme, service_accounts: [{id: ci, role: READER}, {id: bob, role: READER}], users: [{id: alice, role: READER}, {id: bob, role: READER}]}]")
	if wrong, _ = CheckSeed(t.Context(), twice, SeedCheck{}); len(wrong) != 1 || !strings.Contains(wrong[0].Error(), `users[1].id: "bob" is a service account`) {
		t.Errorf("a user with the id of a service account: %v", wrong)
	}
}

// TestU28_KeysSayWhenTheyWereUsed, and from where.
func TestU28_KeysSayWhenTheyWereUsed(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", ofUsers+"?user_id=alice", `{"role": "MEMBER"}`)
	made := a.call(200, "POST", ofUsers+"/alice/accessTokens", "")
	u := a.stored(t, "alice")
	found, err := a.store.FindAccountByKey(t.Context(), 0, "", sha256.Sum256([]byte(made["secret"].(string))))
	if err != nil || found.ID != u.ID {
		t.Fatal(found, err)
	}
	at := time.Now().UTC().Truncate(time.Minute)
	if err := a.store.RecordKeyUses(t.Context(), []meta.KeyUse{{Tenant: u.Tenant, Account: u.ID, Key: found.Key, At: at, Address: "192.0.2.1"}}); err != nil {
		t.Fatal(err)
	}
	list := a.call(200, "GET", ofUsers+"/alice/accessTokens", "")["access_tokens"].([]any)
	if one := list[0].(map[string]any); one["last_used_time"] != at.Format(time.RFC3339) || one["last_used_address"] != "192.0.2.1" {
		t.Errorf("%v", one)
	}
}
