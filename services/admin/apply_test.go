package admin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeSeed writes the file and, beside it, the secrets.
func writeSeed(t *testing.T, text string, secrets map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "tenants.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, secret := range secrets {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

const seedSecret = "a secret of thirty-two characters or more"

// state is all that the API shows of a tenant.
func state(a *api, tenantID string) string {
	var all []any
	for _, path := range []string{"", "/registries", "/domains", "/serviceAccounts", "/serviceAccounts/ci/keys", "/events"} {
		all = append(all, a.call(200, "GET", "/v1/tenants/"+tenantID+path, ""))
	}
	return fmt.Sprint(all)
}

func TestApplyTwiceIsApplyOnce(t *testing.T) {
	a := newAPI(t)
	file := writeSeed(t, wholeSeed, map[string]string{"ci.secret": seedSecret})
	if err := a.service.Apply(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	first := state(a, "acme")
	for _, want := range []string{
		"display_name:Acme", "quota_bytes:10737418240", "dev.acme.localhost registry.acme.example", "missing_references:ALLOW",
		"read_only:true", "tenants/acme/serviceAccounts/ci/keys/build", "role:WRITER", "actor:operator",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("no %s in %s", want, first)
		}
	}
	if err := a.service.Apply(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if second := state(a, "acme"); second != first {
		t.Errorf("applying the file again changed\n%s\nto\n%s", first, second)
	}
	// An account's key works with the secret of the file.
	resp, _ := a.send(seedSecret, "GET", "/v1/tenants/acme", "")
	if resp.StatusCode != 403 { // known, but a writer
		t.Errorf("the seeded secret: %d", resp.StatusCode)
	}
}

func TestApplyChangesWhatDiffers(t *testing.T) {
	a := newAPI(t)
	if err := a.service.Apply(t.Context(), writeSeed(t, wholeSeed, map[string]string{"ci.secret": seedSecret})); err != nil {
		t.Fatal(err)
	}
	a.call(200, "PATCH", "/v1/tenants/acme/registries/dev", `{"delete_referrers": true}`)
	next := strings.NewReplacer("registry: dev", "registry: main", "anonymous_pull: true", "anonymous_pull: false",
		"role: WRITER", "role: READER", "display_name: Acme", "display_name: Acme Ltd").Replace(wholeSeed)
	const nextSecret = "another secret of thirty-two characters"
	if err := a.service.Apply(t.Context(), writeSeed(t, next, map[string]string{"ci.secret": nextSecret})); err != nil {
		t.Fatal(err)
	}
	dev := a.call(200, "GET", "/v1/tenants/acme/registries/dev", "")
	if dev["anonymous_pull"] != false || dev["delete_referrers"] != true || len(dev["hosts"].([]any)) != 1 {
		t.Errorf("dev %v", dev)
	}
	if got := a.call(200, "GET", "/v1/tenants/acme/domains/registry.acme.example", ""); got["registry"] != "main" || got["verified"] != true {
		t.Errorf("domain %v", got)
	}
	if got := a.call(200, "GET", "/v1/tenants/acme/serviceAccounts/ci", ""); got["role"] != "READER" {
		t.Errorf("account %v", got)
	}
	for secret, want := range map[string]int{seedSecret: 401, nextSecret: 403} {
		if resp, _ := a.send(secret, "GET", "/v1/tenants/acme", ""); resp.StatusCode != want {
			t.Errorf("secret %q: %d", secret, resp.StatusCode)
		}
	}
}

func TestApplyNamesWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"tenants: [{id: UPPER}]":                                                                                         `:1: tenants[0].id: "UPPER"`,
		"tenants: [{id: acme, quota_bytes: -1}]":                                                                         `:1: tenants[0].quota_bytes: `,
		"tenants: [{id: acme, quota: 1}]":                                                                                `tenants[0].quota: unknown field "quota"; known fields: id, display_name`,
		"tenants: [{id: acme, registries: [{id: a_b}]}]":                                                                 `tenants[0].registries[0].id: `,
		"tenants: [{id: acme, domains: [{id: a.example}]}]":                                                              `tenants[0].domains[0]`,
		"tenants: [{id: acme, domains: [{id: 'x y', registry: dev}]}]":                                                   `tenants[0].domains[0].id: "x y"`,
		"tenants: [{id: acme, service_accounts: [{id: ci}]}]":                                                            `tenants[0].service_accounts[0].role: `,
		"tenants: [{id: acme, service_accounts: [{id: ci, role: READER, keys: [{id: kk}]}]}]":                            `keys[0].secret_file: it is missing`,
		"tenants: [{id: acme, service_accounts: [{id: ci, role: READER, keys: [{id: kk, secret_file: none}]}]}]":         `keys[0].secret_file: the secret file cannot be read: open`,
		"tenants: [{id: acme, service_accounts: [{id: ci, role: READER, keys: [{id: kk, secret_file: short}]}]}]":        `has 7 characters; it needs at least 32`,
		"tenants: [{id: acme, service_accounts: [{id: ci, role: READER, keys: [{id: 'k/k', secret_file: ci.secret}]}]}]": `tenants[0].service_accounts[0].keys[0].id: `,
	} {
		a := newAPI(t)
		err := a.service.Apply(t.Context(), writeSeed(t, text, map[string]string{"short": "hunter2", "ci.secret": seedSecret}))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	a := newAPI(t)
	if err := a.service.Apply(t.Context(), filepath.Join(t.TempDir(), "none.yaml")); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("no file: %v", err)
	}
}
