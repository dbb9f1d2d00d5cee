package admin

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
)

const trustsOfCI = "/v1/tenants/acme/serviceAccounts/ci/trusts"

func trustAPI(t *testing.T, change ...func(*Config, *Options)) *api {
	t.Helper()
	a := newAPI(t, change...)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/serviceAccounts?service_account_id=ci", `{"role": "MEMBER"}`)
	return a
}

// trustBody is a trust with the fields besides.
func trustBody(fields string) string {
	return `{"issuer": "https://token.actions.githubusercontent.com", "condition": "claims.repository == \"acme/web\""` + fields + `}`
}

func TestV40_TrustsAreMadeListedAndDeleted(t *testing.T) {
	a := trustAPI(t)
	made := a.call(200, "POST", trustsOfCI+"?trust_id=github", trustBody(`, "audiences": ["berth"], "description": "builds", "ttl": "300s"`))
	if made["name"] != "tenants/acme/serviceAccounts/ci/trusts/github" || made["description"] != "builds" || made["expire_time"] == nil || made["create_time"] == nil || made["ttl"] != nil || made["last_used_time"] != nil {
		t.Errorf("made %v", made)
	}
	if got := a.call(200, "GET", trustsOfCI+"/github", ""); fmt.Sprint(got) != fmt.Sprint(made) {
		t.Errorf("got %v, made %v", got, made)
	}
	if got := a.call(409, "POST", trustsOfCI+"?trust_id=github", trustBody("")); reason(t, got) != string(fault.AlreadyExists) {
		t.Errorf("%v", got)
	}
	a.call(409, "POST", trustsOfCI+"?trust_id=github&validate_only=true", trustBody(""))
	a.call(200, "POST", trustsOfCI+"?trust_id=other&validate_only=true", trustBody(""))
	a.call(404, "GET", trustsOfCI+"/other", "")
	a.call(200, "POST", trustsOfCI+"?trust_id=other", trustBody(""))
	first := a.call(200, "GET", trustsOfCI+"?page_size=1", "")
	rest := a.call(200, "GET", trustsOfCI+"?page_size=1&page_token="+first["next_page_token"].(string), "")
	if trusts := append(first["trusts"].([]any), rest["trusts"].([]any)...); len(trusts) != 2 || rest["next_page_token"] != "" {
		t.Errorf("listed %v", trusts)
	}
	a.call(200, "DELETE", trustsOfCI+"/github?validate_only=true", "")
	a.call(200, "GET", trustsOfCI+"/github", "")
	a.call(200, "DELETE", trustsOfCI+"/github", "")
	a.call(404, "DELETE", trustsOfCI+"/github", "")
	a.call(200, "DELETE", trustsOfCI+"/github?allow_missing=true", "")
	log := fmt.Sprint(a.call(200, "GET", "/v1/tenants/acme/events", "")["events"].([]any)[:3])
	for _, want := range []string{"trust.create", "trust.delete", "serviceAccounts/ci/trusts/github", `claims.repository == "acme/web"`, "https://token.actions.githubusercontent.com"} {
		if !strings.Contains(log, want) {
			t.Errorf("the events do not say %s: %s", want, log)
		}
	}
}

func TestV40_TrustsThatCannotMeanWhatTheySayAreRefused(t *testing.T) {
	a := trustAPI(t)
	many := strings.TrimSuffix(strings.Repeat(`"a",`, 17), ",")
	for body, field := range map[string]string{
		`{}`: "issuer",
		`{"issuer": "http://issuer.example", "condition": "claims.sub == 'x'"}`:                    "issuer",
		`{"issuer": "issuer.example", "condition": "claims.sub == 'x'"}`:                           "issuer",
		`{"issuer": "https://user@issuer.example", "condition": "claims.sub == 'x'"}`:              "issuer",
		`{"issuer": "https://issuer.example?x=1", "condition": "claims.sub == 'x'"}`:               "issuer",
		`{"issuer": "https://issuer.example/#x", "condition": "claims.sub == 'x'"}`:                "issuer",
		`{"issuer": "https://` + strings.Repeat("a", 500) + `", "condition": "claims.sub == 'x'"}`: "issuer",
		`{"issuer": "https://issuer.example"}`:                                                     "condition",
		`{"issuer": "https://issuer.example", "condition": "true"}`:                                "condition",
		`{"issuer": "https://issuer.example", "condition": "claims.sub"}`:                          "condition",
		trustBody(`, "audiences": [""]`):                                                           "audiences[0]",
		trustBody(`, "audiences": ["a", "a"]`):                                                     "audiences[1]",
		trustBody(`, "audiences": [` + many + `]`):                                                 "audiences",
		trustBody(`, "description": "` + strings.Repeat("x", 201) + `"`):                           "description",
		trustBody(`, "ttl": "0s"`):                                                                 "ttl",
	} {
		got := a.call(400, "POST", trustsOfCI+"?trust_id=github", body)
		if text := fmt.Sprint(got); !strings.Contains(text, "field:"+field+" ") {
			t.Errorf("%.100s: %s, want %s", body, text, field)
		}
	}
	a.call(400, "POST", trustsOfCI+"?trust_id=x--y", trustBody(""))
	a.call(400, "POST", trustsOfCI, trustBody(""))
	a.call(404, "POST", "/v1/tenants/acme/serviceAccounts/none/trusts?trust_id=github", trustBody(""))
	if n := len(a.call(200, "GET", trustsOfCI, "")["trusts"].([]any)); n != 0 {
		t.Errorf("%d trusts", n)
	}
}

// inside are chains whose configuration lets nothing be connected to.
type inside struct{ silent }

func (inside) CheckAddress(_ context.Context, tenantSlug, _, url string) error {
	return fault.New(fault.Invalid, fault.RequestInvalid, "%s of %s is refused", url, tenantSlug).WithField("url")
}

func TestV45_IssuersThatLeadInsideAreRefusedWhenTheyAreWritten(t *testing.T) {
	a := trustAPI(t, func(c *Config, _ *Options) { c.Chains = inside{} })
	got := a.call(400, "POST", trustsOfCI+"?trust_id=github", `{"issuer": "https://10.0.0.1:6443/path", "condition": "claims.sub == 'x'"}`)
	if text := fmt.Sprint(got); !strings.Contains(text, "field:issuer ") || !strings.Contains(text, "https://10.0.0.1:6443 of acme is refused") {
		t.Errorf("%v", got)
	}
}

func TestV40_TrustsAreLimited(t *testing.T) {
	a := trustAPI(t, func(c *Config, _ *Options) { c.Limits.AccountKeys = 2 })
	for _, id := range []string{"one", "two"} {
		a.call(200, "POST", trustsOfCI+"?trust_id="+id, trustBody(""))
	}
	if got := a.call(400, "POST", trustsOfCI+"?trust_id=three&validate_only=true", trustBody("")); reason(t, got) != string(fault.LimitReached) {
		t.Errorf("%v", got)
	}
}

// TestV52_SeedFilesHaveTrusts: applied again they change nothing, and another condition makes
// the trust again.
func TestV52_SeedFilesHaveTrusts(t *testing.T) {
	a := newAPI(t)
	file := filepath.Join(t.TempDir(), "seed.yaml")
	apply := func(condition string) error {
		text := `
tenants:
  - id: acme
    service_accounts:
      - id: ci
        role: WRITER
        trusts:
          - id: github
            issuer: https://token.actions.githubusercontent.com
            audiences: [berth]
            condition: ` + condition + `
            description: builds of acme/web
`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		check := SeedCheck{Pattern: a.service.pattern, Secrets: a.service.secrets, CheckAddress: silent{}.CheckAddress, CheckHelper: silent{}.CheckHelper}
		wrong, _ := CheckSeed(t.Context(), file, check)
		err := a.service.Apply(t.Context(), file)
		if (len(wrong) == 0) != (err == nil) {
			t.Errorf("the check says %v, the start %v", wrong, err)
		}
		return err
	}
	events := func() int {
		return len(a.call(200, "GET", "/v1/tenants/acme/events?page_size=1000", "")["events"].([]any))
	}
	for range 2 {
		if err := apply(`claims.ref == "refs/heads/main"`); err != nil {
			t.Fatal(err)
		}
	}
	before := events()
	if before != 3 { // tenant, account, trust
		t.Errorf("%d events", before)
	}
	if err := apply(`claims.ref == "refs/heads/release"`); err != nil {
		t.Fatal(err)
	}
	if got := a.call(200, "GET", trustsOfCI+"/github", ""); got["condition"] != `claims.ref == "refs/heads/release"` || events() != before+2 {
		t.Errorf("%v, %d events", got, events()-before)
	}
	if err := apply("true"); err == nil || !strings.Contains(err.Error(), "service_accounts[0].trusts[0].condition") {
		t.Errorf("%v", err)
	}
	tn, err := a.store.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if all, err := a.store.ListTrusts(t.Context(), tn.ID, "ci"); err != nil || len(all) != 1 || all[0].Note != "builds of acme/web" {
		t.Errorf("%+v, %v", all, err)
	}
}
