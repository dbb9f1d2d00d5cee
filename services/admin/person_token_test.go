package admin

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/password"
	"github.com/berth-registry/berth/pkg/tenant"
)

// withMax has max, a person of the operator's provider corp, in acme and in other, and of acme's
// own provider as own, each with a session of the password.
func withMax(t *testing.T) (*api, string, string, string) {
	t.Helper()
	a := withProviders(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=other", "")
	add := func(owner tenant.ID, slug, user string) string {
		at, err := a.store.FindTenant(t.Context(), slug)
		if err != nil {
			t.Fatal(err)
		}
		if owner != meta.Deployment {
			owner = at.ID
		}
		corp, err := a.store.FindIdentityProvider(t.Context(), owner, "corp")
		if err != nil {
			t.Fatal(err)
		}
		p := meta.Person{Account: meta.Account{Tenant: at.ID}, Provider: corp.ID, Subject: "s-max"}
		p, err = a.store.CreatePerson(t.Context(), meta.Cause{Op: uuid.New()}, p, []string{user}, meta.PersonReading{LoginName: "Max"})
		if err != nil {
			t.Fatal(err)
		}
		secret, _, err := a.service.createSession(t.Context(), caller{principal: p.Principal()})
		if err != nil {
			t.Fatal(err)
		}
		return loopbackCookie + "=" + secret
	}
	a.listener("http")
	return a, add(meta.Deployment, "acme", "max"), add(meta.Deployment, "other", "max-m"), add(1, "acme", "own")
}

// TestV95_PeopleManageTheirTokensForAllTenants, in sessions of their password, at any tenant.
func TestV95_PeopleManageTheirTokensForAllTenants(t *testing.T) {
	a, atAcme, atOther, ofOwn := withMax(t)
	const mine, theirs, own = "/v1/tenants/acme/users/max/accessTokens", "/v1/tenants/other/users/max-m/accessTokens", "/v1/tenants/acme/users/own/accessTokens"
	everywhere := `{"all_tenants": true, "description": "laptop"}`
	a.with(atAcme, 200, "POST", mine+"?validate_only=true", everywhere)
	var made struct {
		Name, Secret string
		AllTenants   bool `json:"all_tenants"`
	}
	if err := json.Unmarshal([]byte(a.with(atAcme, 200, "POST", mine, everywhere)), &made); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(made.Secret, password.PersonPrefix) || !made.AllTenants || !strings.HasPrefix(made.Name, "tenants/acme/users/max/accessTokens/") {
		t.Errorf("%+v", made)
	}
	a.with(atAcme, 200, "POST", mine, `{}`)
	a.with(atAcme, 400, "POST", mine, `{"all_tenants": true, "ttl": "99999999s"}`)
	for cookie, path := range map[string]string{ofOwn: own, atOther: mine} { // a person of a tenant's provider, and another account
		if resp, text := a.send("", "POST", path, everywhere, "Cookie: "+cookie); resp.StatusCode != 400 && resp.StatusCode != 403 && resp.StatusCode != 404 {
			t.Errorf("%s: %s %s", path, resp.Status, text)
		}
	}
	a.call(400, "POST", mine, everywhere) // an operator
	asAdmin := a.keyOf("acme", access.UserKind, "max", "k", time.Time{})
	for name, wrong := range map[string]string{"an access token, as administrators make them": asAdmin, "itself": made.Secret} {
		if resp, _ := a.send(wrong, "POST", mine, everywhere); resp.StatusCode != 400 && resp.StatusCode != 401 {
			t.Errorf("by %s: %s", name, resp.Status)
		}
	}
	id := made.Name[strings.LastIndex(made.Name, "/")+1:]
	if text := a.with(atOther, 200, "GET", theirs, ""); !strings.Contains(text, id) || !strings.Contains(text, "laptop") {
		t.Errorf("the person sees %s", text)
	}
	for path, token := range map[string]string{theirs: operatorToken, mine: asAdmin} {
		if _, text := a.send(token, "GET", path, ""); strings.Contains(string(text), id) {
			t.Errorf("others see %s", text)
		}
		if resp, _ := a.send(token, "DELETE", path+"/"+id, ""); resp.StatusCode != 404 {
			t.Errorf("others delete: %s", resp.Status)
		}
	}
	a.with(atOther, 200, "DELETE", theirs+"/"+id+"?validate_only=true", "")
	a.with(atOther, 200, "DELETE", theirs+"/"+id, "")
	if text := a.with(atAcme, 200, "GET", mine, ""); strings.Contains(text, id) || strings.Count(text, "accessTokens/") != 2 {
		t.Errorf("left are %s", text)
	}
	if events := fmt.Sprint(a.call(200, "GET", "/v1/tenants/acme/events", "")); strings.Contains(events, "accessToken.delete") || !strings.Contains(events, "a person, for all tenants") {
		t.Errorf("%s", events)
	}
}

// TestV95_AnAccountWithAPasswordHereShowsNoPerson: who logs in with that one may be another.
func TestV95_AnAccountWithAPasswordHereShowsNoPerson(t *testing.T) {
	a, _, atOther, _ := withMax(t)
	const path = "/v1/tenants/acme/users/max/accessTokens"
	at, err := a.store.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	account, err := a.store.FindAccount(t.Context(), at.ID, access.UserKind, "max")
	if err != nil {
		t.Fatal(err)
	}
	a.with(atOther, 200, "POST", "/v1/tenants/other/users/max-m/accessTokens", `{"all_tenants": true, "description": "laptop"}`)
	account.Password = "$argon2id$known"
	if account, err = a.store.UpdateAccount(t.Context(), meta.Cause{Op: uuid.New()}, account); err != nil {
		t.Fatal(err)
	}
	secret, _, err := a.service.createSession(t.Context(), caller{principal: account.Principal()})
	if err != nil {
		t.Fatal(err)
	}
	session := loopbackCookie + "=" + secret
	a.with(session, 400, "POST", path, `{"all_tenants": true}`)
	if text := a.with(session, 200, "GET", path, ""); strings.Contains(text, "laptop") {
		t.Errorf("those for all tenants: %s", text)
	}
}
