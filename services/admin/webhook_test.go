package admin

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/webhooks"
)

// webhookSecret is a secret of webhooks, and anotherWebhookSecret another one.
const (
	webhookSecret        = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
	anotherWebhookSecret = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4"
)

// makeDeliveries makes the deliveries of all events.
func (a *api) makeDeliveries() {
	a.t.Helper()
	for after := tenant.ID(0); ; {
		made, err := a.store.MakeDeliveries(a.t.Context(), after, 1000, meta.DeliveryBacklog, webhooks.Render)
		if err != nil {
			a.t.Fatal(err)
		}
		if made.Tenant == 0 {
			return
		}
		after = made.Tenant
	}
}

// TestW197_AWebhookByTheAdminAPI makes, changes, reads and deletes one, whose secret no answer and
// no event shows.
func TestW197_AWebhookByTheAdminAPI(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	const hooks, ci = "/v1/tenants/acme/webhooks", "/v1/tenants/acme/webhooks/ci"
	body := func(fields string) string {
		return fmt.Sprintf(`{"url": "https://hooks.example.com/berth", "secret": %q%s}`, webhookSecret, fields)
	}
	made := a.call(200, "POST", hooks+"?webhook_id=ci", body(`, "events": ["manifest.*", "*.delete"], "registry": "main", "repositories": ["team/**"]`))
	if made["format"] != "CLOUDEVENTS" || made["etag"] == "" || fmt.Sprint(made["events"]) != "[manifest.* *.delete]" {
		t.Errorf("%v", made)
	}
	for field, wrong := range map[string]string{
		"webhook.events[0]":       body(`, "events": ["manifest"]`),
		"webhook.repositories[0]": body(`, "repositories": [""]`),
		"webhook.registry":        body(`, "registry": "none"`),
		"webhook.format":          body(`, "format": "XML"`),
		"webhook.secret":          `{"url": "https://hooks.example.com/"}`,
		"secret":                  `{"url": "https://hooks.example.com/", "secret": "whsec_c2hvcnQ="}`,
	} {
		if got := fmt.Sprint(a.call(400, "POST", hooks+"?webhook_id=wrong", wrong)); !strings.Contains(got, strings.TrimPrefix(field, "webhook.")) {
			t.Errorf("%s: %s", field, got)
		}
	}
	for _, at := range []string{"", "hooks.example.com", "ftp://hooks.example.com/", "https://user:password@hooks.example.com/", "https://hooks.example.com/#top", "https:///path", "https://hooks.example.com/" + strings.Repeat("a", maxWebhookURL)} {
		if got := fmt.Sprint(a.call(400, "POST", hooks+"?webhook_id=wrong", fmt.Sprintf(`{"url": %q, "secret": %q}`, at, webhookSecret))); !strings.Contains(got, "url") || strings.Contains(got, "password@") {
			t.Errorf("%s: %s", at, got)
		}
	}
	w := func() meta.Webhook {
		tn, err := a.store.FindTenant(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		found, err := a.store.FindWebhook(t.Context(), tn.ID, "ci")
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	before := w()
	a.call(200, "PATCH", ci, `{"display_name": "CI"}`)
	if after := w(); string(after.Secret) != string(before.Secret) || after.DisplayName != "CI" {
		t.Errorf("%+v", after)
	}
	a.call(200, "PATCH", ci, fmt.Sprintf(`{"secret": %q}`, webhookSecret)) // as it is
	if after := w(); after.Version != before.Version+1 {
		t.Errorf("the same secret changed it: %+v", after)
	}
	a.call(409, "PATCH", ci+"?update_mask=secret", fmt.Sprintf(`{"secret": %q, "etag": "x"}`, anotherWebhookSecret))
	rotated := a.call(200, "PATCH", ci, fmt.Sprintf(`{"secret": %q}`, anotherWebhookSecret))
	if after := w(); string(after.Secret) == string(before.Secret) || string(after.PreviousSecret) != string(before.Secret) {
		t.Errorf("%+v", after)
	}
	for what, shown := range map[string]any{"answers": rotated, "gets": a.call(200, "GET", ci, ""), "lists": a.call(200, "GET", hooks, ""), "events": a.call(200, "GET", "/v1/tenants/acme/events", "")} {
		if text := fmt.Sprint(shown); strings.Contains(text, "whsec") || what == "events" && !strings.Contains(text, "another secret") {
			t.Errorf("%s: %s", what, text)
		}
	}
	a.call(200, "PATCH", "/v1/tenants/acme/webhooks/new?allow_missing=true", body(`, "format": "DISTRIBUTION", "disabled": true`))
	a.call(200, "POST", hooks+"?webhook_id=third&validate_only=true", body(""))
	a.call(404, "GET", hooks+"/third", "")
	a.call(200, "DELETE", ci, "")
	a.call(404, "GET", ci, "")
}

// TestW198_TheLogOfDeliveries lists it by state and by pages, reads one, and sends it again.
func TestW198_TheLogOfDeliveries(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	const ci = "/v1/tenants/acme/webhooks/ci"
	a.call(200, "POST", "/v1/tenants/acme/webhooks?webhook_id=ci", fmt.Sprintf(`{"url": "https://hooks.example.com/", "secret": %q, "events": ["manifest.*"]}`, webhookSecret))
	for _, tag := range []string{"v1", "v2", "v3"} {
		a.push("acme", "main", "app", tag)
	}
	a.makeDeliveries()
	list := func(query string) []any {
		got, _ := a.call(200, "GET", ci+"/deliveries"+query, "")["deliveries"].([]any)
		return got
	}
	all := list("")
	if len(all) != 3 || len(list("?state=PENDING")) != 3 || len(list("?state=DEAD"))+len(list("?state=DELIVERED")) != 0 {
		t.Fatalf("%v", all)
	}
	newest := all[0].(map[string]any)
	if newest["verb"] != "manifest.put" || !strings.Contains(fmt.Sprint(newest["target"]), ":v3@") || newest["state"] != "PENDING" || newest["body"] != nil && newest["body"] != "" {
		t.Errorf("%v", newest)
	}
	if page := a.call(200, "GET", ci+"/deliveries?page_size=2", ""); len(page["deliveries"].([]any)) != 2 {
		t.Errorf("%v", page)
	} else if rest := list("?page_size=2&page_token=" + url.QueryEscape(fmt.Sprint(page["next_page_token"]))); len(rest) != 1 {
		t.Errorf("%v", rest)
	}
	name := "/v1/" + fmt.Sprint(newest["name"])
	if got := a.call(200, "GET", name, ""); !strings.Contains(fmt.Sprint(got["body"]), `"specversion":"1.0"`) || got["webhook_id"] != newest["webhook_id"] {
		t.Errorf("%v", got)
	}
	if got := a.call(200, "POST", name+":redeliver", "{}"); got["state"] != "PENDING" {
		t.Errorf("%v", got)
	}
	for _, missing := range []string{"/deliveries/4711", "x/deliveries/1"} {
		a.call(404, "GET", ci+missing, "")
		a.call(404, "POST", ci+missing+":redeliver", "{}")
	}
	a.call(400, "GET", ci+"/deliveries/none", "")
	a.call(400, "GET", ci+"/deliveries?state=NONE", "")
}

// inner is a deployment that lets upstreams be at one address alone.
type inner struct{ silent }

func (inner) CheckAddress(_ context.Context, _, _, at string) error {
	if at != "https://hooks.example.com" {
		return invalid("url", "refused")
	}
	return nil
}

// TestE17_AWebhookAtAnInnerAddressIsRefused when it is written, by the API and by seed files.
func TestE17_AWebhookAtAnInnerAddressIsRefused(t *testing.T) {
	a := newAPI(t, func(c *Config, _ *Options) { c.Chains = inner{} })
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for at, want := range map[string]int{"https://hooks.example.com/a?b=c": 200, "http://127.0.0.1:9/": 400, "https://169.254.169.254/latest": 400} {
		got := fmt.Sprint(a.call(want, "PATCH", "/v1/tenants/acme/webhooks/ci?allow_missing=true", fmt.Sprintf(`{"url": %q, "secret": %q}`, at, webhookSecret)))
		if want != 200 && !strings.Contains(got, "upstream_allow") {
			t.Errorf("%s: %s", at, got)
		}
	}
}

const webhookSeed = `
tenants:
  - id: acme
    webhooks:
      - {id: known, events: [tag.*]}
      - {id: ci, url: "https://hooks.example.com/", secret_file: secret, format: DISTRIBUTION}
`

// TestW199_SeedFilesHaveWebhooks whose secrets are in files, and without what the tenant's webhook
// has already. Applied again, it changes nothing.
func TestW199_SeedFilesHaveWebhooks(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/webhooks?webhook_id=known", fmt.Sprintf(`{"url": "https://hooks.example.com/", "secret": %q}`, webhookSecret))
	file := writeSeed(t, webhookSeed, map[string]string{"secret": webhookSecret + "\n"})
	if wrong, elsewhere := checkSeedOf(t, a, file); len(wrong)+len(elsewhere) > 0 {
		t.Fatalf("wrong: %v, elsewhere: %v", wrong, elsewhere)
	}
	for range 2 {
		if err := a.service.Apply(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]string{"known": "CLOUDEVENTS", "ci": "DISTRIBUTION"} {
			if got := a.call(200, "GET", "/v1/tenants/acme/webhooks/"+id, ""); got["format"] != want {
				t.Errorf("%v", got)
			}
		}
	}
	events := a.call(200, "GET", "/v1/tenants/acme/events?filter="+url.QueryEscape(`target:"webhooks"`), "")["events"].([]any)
	if len(events) != 3 { // made, made by the file, changed by it
		t.Errorf("%d events: %v", len(events), events)
	}
	for wrong, field := range map[string]string{
		strings.Replace(webhookSeed, "secret_file: secret", "secret: "+webhookSecret, 1): "secret",
		strings.Replace(webhookSeed, "tag.*", "tags", 1):                                 "events[0]",
		strings.Replace(webhookSeed, "https:", "gopher:", 1):                             "url",
	} {
		if got, _ := checkSeedOf(t, a, writeSeed(t, wrong, map[string]string{"secret": webhookSecret})); len(got) != 1 || !strings.Contains(fmt.Sprint(got), field) {
			t.Errorf("%s: %v", field, got)
		}
	}
}

// TestW191_SecretsOfWebhooksAreSealedAgain with the next key of the deployment, also the one before.
func TestW191_SecretsOfWebhooksAreSealedAgain(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/webhooks?webhook_id=ci", fmt.Sprintf(`{"url": "https://hooks.example.com/", "secret": %q}`, webhookSecret))
	a.call(200, "PATCH", "/v1/tenants/acme/webhooks/ci", fmt.Sprintf(`{"secret": %q}`, anotherWebhookSecret))
	a.service.secrets = newRing(t, nextKey, keyOfTests)
	for _, want := range []int{1, 0} {
		if n, err := a.service.Reseal(t.Context()); n != want || err != nil {
			t.Errorf("%d sealed again, want %d: %v", n, want, err)
		}
	}
	tn, err := a.store.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.store.FindWebhook(t.Context(), tn.ID, "ci")
	if err != nil {
		t.Fatal(err)
	}
	next := newRing(t, nextKey)
	for want, sealed := range map[string][]byte{anotherWebhookSecret: w.Secret, webhookSecret: w.PreviousSecret} {
		if got, err := next.Open(sealed, w.SecretName()); err != nil || got != want {
			t.Errorf("%q: %v", got, err)
		}
	}
}
