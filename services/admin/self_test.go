package admin

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
)

// TestU95_ACallerLearnsWhoItIs, whatever its role is, and an operator, too.
func TestU95_ACallerLearnsWhoItIs(t *testing.T) {
	a := newRightsAPI(t)
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	user := a.keyOf("acme", access.UserKind, "alice", "laptop", end)
	ci := a.keyOf("acme", access.ServiceKind, "ci", "deploy", time.Time{})
	a.call(200, "PATCH", ofUsers+"/alice", `{"display_name": "Alice"}`)
	for secret, want := range map[string]map[string]any{
		user: {
			"principal": "users/alice", "tenant": "tenants/acme", "display_name": "Alice", "role": "MEMBER", "groups": []any{"groups/team"},
			"credential": "tenants/acme/users/alice/accessTokens/laptop", "credential_expire_time": end.Format(time.RFC3339),
		},
		ci: {
			"principal": "serviceAccounts/ci", "tenant": "tenants/acme", "display_name": "", "role": "MEMBER", "groups": []any{"groups/team"},
			"credential": "tenants/acme/serviceAccounts/ci/keys/deploy", "credential_expire_time": nil,
		},
		operatorToken: {
			"principal": "operator", "tenant": "", "display_name": "", "role": "ROLE_UNSPECIFIED", "groups": []any{}, "credential": "", "credential_expire_time": nil,
		},
	} {
		if got := a.callAs(secret, 200, "GET", "/v1/caller", ""); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("\n got %v\nwant %v", got, want)
		}
	}
}

// TestU95_ACallerSeesTheRulesThatNameIt, page by page, and nothing of others in them.
func TestU95_ACallerSeesTheRulesThatNameIt(t *testing.T) {
	a := newRightsAPI(t)
	for id, body := range map[string]string{
		"all":      `"effect": "ALLOW", "principals": ["authenticated"], "repositories": ["**"], "actions": ["PULL"], "display_name": "All of us"`,
		"both":     `"effect": "DENY", "principals": ["users/bob", "users/alice", "groups/team"], "repositories": ["a"], "actions": ["PUSH"]`,
		"bob":      `"effect": "ALLOW", "principals": ["users/bob"], "repositories": ["bob"], "actions": ["PULL"]`,
		"disabled": `"effect": "ALLOW", "principals": ["users/alice"], "repositories": ["**"], "actions": ["DELETE"], "disabled": true`,
		"closed":   `"effect": "DENY", "principals": ["anonymous"], "repositories": ["**"], "actions": ["PULL"]`,
		"open":     `"effect": "ALLOW", "principals": ["anonymous"], "repositories": ["open/**"], "actions": ["PULL"]`,
	} {
		a.call(200, "POST", "/v1/tenants/acme/accessRules?access_rule_id="+id, "{"+body+"}")
	}
	list := func(secret string) map[string]string {
		got := map[string]string{}
		for next := ""; ; {
			m := a.callAs(secret, 200, "GET", "/v1/caller/accessRules?page_size=1&page_token="+url.QueryEscape(next), "")
			for _, one := range m["access_rules"].([]any) {
				r := one.(map[string]any)
				got[strings.TrimPrefix(r["name"].(string), "tenants/acme/accessRules/")] = fmt.Sprint(r["principals"])
				if r["display_name"] != "" || r["etag"] != "" {
					t.Errorf("it tells more than what it gives: %v", r)
				}
			}
			if next = m["next_page_token"].(string); next == "" {
				return got
			}
		}
	}
	want := map[string]string{"all": "[authenticated]", "both": "[users/alice groups/team]", "disabled": "[users/alice]", "open": "[anonymous]"}
	if got := list(a.keyOf("acme", access.UserKind, "alice", "laptop", time.Time{})); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := list(operatorToken); len(got) != 0 {
		t.Errorf("an operator: %v", got)
	}
}

// TestU96_UsersManageTheirOwnAccessTokens and refresh tokens, and those of no one else.
func TestU96_UsersManageTheirOwnAccessTokens(t *testing.T) {
	a := newRightsAPI(t)
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	user := a.keyOf("acme", access.UserKind, "alice", "laptop", end)
	const own = ofUsers + "/alice/accessTokens"
	made := a.callAs(user, 200, "POST", own, `{"description": "phone"}`)
	if made["expire_time"] != end.Format(time.RFC3339) {
		t.Errorf("it ends later than the token that made it: %v, %v", made["expire_time"], end)
	}
	short := a.callAs(user, 200, "POST", own, `{"ttl": "60s"}`)
	refused := a.callAs(user, 400, "POST", own, `{"ttl": "7200s"}`)
	if got := refused["message"].(string); !strings.HasPrefix(got, "ttl: the token that you call with ends at "+end.Format(time.RFC3339)) {
		t.Error(got)
	}
	if list := a.callAs(user, 200, "GET", own, "")["access_tokens"].([]any); len(list) != 3 {
		t.Errorf("%v", list)
	}
	a.callAs(short["secret"].(string), 200, "DELETE", "/v1/"+made["name"].(string), "")
	a.callAs(user, 200, "GET", ofUsers+"/alice/refreshTokens", "")
	a.callAs(user, 404, "DELETE", ofUsers+"/alice/refreshTokens/none", "")
	for _, r := range [][2]string{
		{"POST", ofUsers + "/bob/accessTokens"},
		{"GET", ofUsers + "/bob/accessTokens"},
		{"GET", ofUsers + "/missing/accessTokens"},
		{"DELETE", ofUsers + "/bob/accessTokens/x"},
		{"GET", ofUsers + "/bob/refreshTokens"},
		{"DELETE", ofUsers + "/bob/refreshTokens/x"},
		{"GET", "/v1/tenants/evil/users/alice/accessTokens"},
		{"GET", "/v1/tenants/acme/serviceAccounts/ci/keys"},
		{"GET", "/v1/tenants/acme/serviceAccounts/ci/refreshTokens"},
		{"GET", ofUsers + "/alice"},
	} {
		a.callAs(user, 403, r[0], r[1], "")
	}
	_, events := a.send(operatorToken, "GET", "/v1/tenants/acme/events?filter="+url.QueryEscape(`actor="users/alice"`), "")
	for _, word := range []string{`"accessToken.create"`, `"accessToken.delete"`, "made with laptop"} {
		if !strings.Contains(string(events), word) {
			t.Errorf("the audit log does not tell of %s: %s", word, events)
		}
	}
}

// TestU96_AnAdminsTokenIsNotBound: it could make an account, or a key without an end.
func TestU96_AnAdminsTokenIsNotBound(t *testing.T) {
	a := newRightsAPI(t)
	a.call(200, "PATCH", ofUsers+"/bob", `{"role": "ADMIN"}`)
	admin := a.keyOf("acme", access.UserKind, "bob", "laptop", time.Now().Add(time.Hour))
	a.callAs(admin, 200, "POST", ofUsers+"/bob/accessTokens", `{"ttl": "7200s"}`)
	a.callAs(admin, 200, "POST", ofUsers+"/alice/accessTokens", `{"ttl": "7200s"}`)
}

// TestU96_ServiceAccountsSeeTheirOwnKeys and refresh tokens, and make no keys.
func TestU96_ServiceAccountsSeeTheirOwnKeys(t *testing.T) {
	a := newRightsAPI(t)
	ci := a.keyOf("acme", access.ServiceKind, "ci", "deploy", time.Time{})
	a.refreshToken("acme", "ci", "runner")
	const own = "/v1/tenants/acme/serviceAccounts/ci"
	keys := a.callAs(ci, 200, "GET", own+"/keys", "")["keys"].([]any)
	if len(keys) != 1 || keys[0].(map[string]any)["secret"] != "" {
		t.Errorf("%v", keys)
	}
	a.callAs(ci, 403, "POST", own+"/keys", "")
	a.callAs(ci, 403, "DELETE", own+"/keys/deploy", "")
	if tokens := a.callAs(ci, 200, "GET", own+"/refreshTokens", "")["refresh_tokens"].([]any); len(tokens) != 1 {
		t.Errorf("%v", tokens)
	}
	a.callAs(ci, 200, "DELETE", own+"/refreshTokens/runner", "")
}
