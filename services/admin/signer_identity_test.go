package admin

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/cosign/keyless"
	"github.com/berth-registry/berth/pkg/cosign/keyless/keylesstest"
	"github.com/berth-registry/berth/services/internal/policy"
)

// TestW173_IdentitiesNeedATrustedRoot: of the gate, or of the operator. What is wrong with either
// is said when the gate is written.
func TestW173_IdentitiesNeedATrustedRoot(t *testing.T) {
	local := keylesstest.New()
	operators, lost := "", error(nil)
	alone := newAPI(t)
	trusting := newAPI(t, func(c *Config, _ *Options) {
		c.Trust = policy.NewTrust(func() (string, error) { return operators, lost })
	})
	type identity map[string]string
	ada := identity{"issuer": "https://login.example", "subject": "*@example.com"}
	body := func(root string, identities ...identity) string {
		text, err := json.Marshal(map[string]any{"identities": identities, "trusted_root": root})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const gates, rules = "/v1/tenants/acme/promotionGates", "/v1/tenants/acme/pullRules"
	for _, a := range []*api{alone, trusting} {
		a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
		a.call(200, "POST", gates+"?promotion_gate_id=own", body(local.Root(keylesstest.Timestamps), ada))
		if got := a.call(200, "GET", gates+"/own", ""); got["trusted_root"] != local.Root(keylesstest.Timestamps) || !strings.Contains(fmt.Sprint(got["identities"]), "subject:*@example.com") {
			t.Errorf("%v", got)
		}
		a.call(200, "POST", rules+"?pull_rule_id=own", body(local.Root(keylesstest.Timestamps), ada))
		if got := a.call(200, "GET", rules+"/own", ""); got["trusted_root"] != local.Root(keylesstest.Timestamps) || !strings.Contains(fmt.Sprint(got["identities"]), "subject:*@example.com") {
			t.Errorf("%v", got)
		}
		for name, row := range map[string]struct{ body, field string }{
			"no issuer":     {body("", identity{"subject": "a@example.com"}), "identities[0].issuer"},
			"no subject":    {body("", identity{"issuer": "https://login.example"}), "identities[0].subject"},
			"no pattern":    {body("", ada, identity{"issuer": "https://login.example", "subject": "[a"}), "identities[1].subject"},
			"too many":      {body("", slices.Repeat([]identity{ada}, maxSignerIdentities+1)...), "identities"},
			"no root":       {body("{}", ada), "trusted_root"},
			"too large":     {body(strings.Repeat(" ", keyless.MaxRoot+1), ada), "trusted_root"},
			"no identities": {`{"min_age": "1s", "trusted_root": "{}"}`, "trusted_root"},
			"no trust":      {body("", ada), "trusted_root"}, // operators is empty
		} {
			if got := fmt.Sprint(a.call(400, "POST", gates+"?promotion_gate_id=wrong", row.body)); !strings.Contains(got, "field:"+row.field+" ") {
				t.Errorf("%s: %s", name, got)
			}
			if got := fmt.Sprint(a.call(400, "POST", rules+"?pull_rule_id=wrong", strings.Replace(row.body, "min_age", "display_name", 1))); !strings.Contains(got, "field:"+row.field+" ") && name != "no identities" {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
	operators = local.Root(keylesstest.Timestamps)
	trusting.call(200, "POST", gates+"?promotion_gate_id=operators", body("", ada))
	lost = os.ErrNotExist
	if got := fmt.Sprint(trusting.call(400, "POST", gates+"?promotion_gate_id=late", body("", ada))); !strings.Contains(got, "the trusted root of the operator cannot be read") {
		t.Error(got)
	}
}
