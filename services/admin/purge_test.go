package admin

import (
	"fmt"
	"strings"
	"testing"
)

// TestW20_PurgeNeedsItsRightEverywhere: PURGE in each hosted repository that has the digest, by
// role or by rules, which also take it; and what the answers say.
func TestW20_PurgeNeedsItsRightEverywhere(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants?tenant_id=other", "")
	secrets := map[string]string{}
	for _, role := range []string{"MEMBER", "AUDITOR", "READER", "WRITER", "ADMIN"} {
		secrets[role] = a.account("acme", "sa-"+strings.ToLower(role), role)
	}
	stranger := a.account("other", "admin", "ADMIN")
	rule := func(id, effect, who, repositories string) {
		t.Helper()
		a.call(200, "POST", "/v1/tenants/acme/accessRules?access_rule_id="+id,
			fmt.Sprintf(`{"effect": %q, "principals": ["serviceAccounts/%s"], "repositories": [%q], "actions": ["PURGE"]}`, effect, who, repositories))
	}
	a.push("acme", "main", "team/app", "v1")
	m, _ := a.index()
	body := func(more string) string { return fmt.Sprintf(`{"digest": %q%s}`, m.Digest, more) }
	const path = "/v1/tenants/acme:purge"

	for _, role := range []string{"MEMBER", "AUDITOR", "READER", "WRITER"} {
		a.callAs(secrets[role], 403, "POST", path, body(`, "validate_only": true`))
	}
	a.callAs(stranger, 403, "POST", path, body(""))
	rule("purges", "ALLOW", "sa-member", "team/**")
	got := a.callAs(secrets["MEMBER"], 200, "POST", path, body(`, "validate_only": true`))
	if text := fmt.Sprint(got); got["state"] != "PRESENT" || !strings.Contains(text, "[tenants/acme/registries/main/repositories/team/app@"+m.Digest.String()+"]") {
		t.Error(text)
	}
	a.push("acme", "main", "elsewhere", "v1")
	a.callAs(secrets["MEMBER"], 403, "POST", path, body(`, "force": true`))
	rule("keeps", "DENY", "sa-admin", "elsewhere")
	a.callAs(secrets["ADMIN"], 403, "POST", path, body(`, "force": true`))
	a.call(200, "DELETE", "/v1/tenants/acme/accessRules/keeps", "")

	refused := a.callAs(secrets["ADMIN"], 400, "POST", path, body(""))
	if reason(t, refused) != "NOT_EMPTY" || !strings.Contains(fmt.Sprint(refused), "2 live manifests, such as registries/main/repositories/elsewhere@") {
		t.Errorf("%v", refused)
	}
	if got := a.callAs(secrets["ADMIN"], 200, "POST", path, body(`, "force": true`)); got["state"] != "GONE" {
		t.Errorf("%v", got)
	}
	// Where none has it any more, PURGE anywhere is enough to be told so.
	if got := a.callAs(secrets["MEMBER"], 200, "POST", path, body(`, "validate_only": true`)); got["state"] != "GONE" {
		t.Errorf("%v", got)
	}
	a.callAs(secrets["WRITER"], 403, "POST", path, body(`, "validate_only": true`))

	events := fmt.Sprint(a.call(200, "GET", "/v1/tenants/acme/events?page_size=20", ""))
	for _, want := range []string{"digest.purge", "manifest.purge", "digests/" + m.Digest.String(), "serviceAccounts/sa-admin"} {
		if !strings.Contains(events, want) {
			t.Errorf("no %s in %s", want, events)
		}
	}
	for _, wrong := range []string{`{}`, `{"digest": "sha256:1"}`} {
		if got := fmt.Sprint(a.call(400, "POST", path, wrong)); !strings.Contains(got, "field:digest") {
			t.Errorf("%s: %s", wrong, got)
		}
	}
	a.call(404, "POST", "/v1/tenants/missing:purge", body(""))
}
