package admin

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// atDevice is the login of a device.
type atDevice struct {
	*issuers
	Code     string `json:"device_code"`
	UserCode string `json:"user_code"`
	At       string `json:"verification_uri"`
	Interval int    `json:"interval"`
	Expires  int    `json:"expires_in"`
}

const deviceOfCorp = `{"tenant": "acme", "provider": "operator/identityProviders/corp", "description": "laptop", "ttl": "3600s"}`

// device begins a login.
func (w *issuers) device(body string) *atDevice {
	w.t.Helper()
	resp, text := w.send("", "POST", devicePath, body)
	d := &atDevice{issuers: w}
	if err := json.Unmarshal(text, d); err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%s %s, %v", resp.Status, text, err)
	}
	return d
}

// ask asks as if the interval had passed.
func (d *atDevice) ask() (*http.Response, map[string]any) {
	d.t.Helper()
	d.service.asked = newDevicePace()
	return d.askNow()
}

func (d *atDevice) askNow() (*http.Response, map[string]any) {
	d.t.Helper()
	resp, text := d.send("", "POST", deviceEndPath, `{"device_code": "`+d.Code+`"}`)
	var said map[string]any
	if err := json.Unmarshal(text, &said); err != nil {
		d.t.Fatalf("%s, %v", text, err)
	}
	return resp, said
}

func (d *atDevice) wants(state string) {
	d.t.Helper()
	if resp, said := d.ask(); resp.StatusCode != http.StatusOK || len(said) != 1 || said["state"] != state {
		d.t.Errorf("%s %v, want %s", resp.Status, said, state)
	}
}

// token is the access token of a login that has ended well, as the account.
func (d *atDevice) token(account string) map[string]any {
	d.t.Helper()
	resp, said := d.ask()
	made, _ := said["access_token"].(map[string]any)
	if resp.StatusCode != http.StatusOK || said["state"] != "done" || said["user"] != "users/"+account || made["secret"] == nil {
		d.t.Fatalf("%s %v", resp.Status, said)
	}
	return made
}

// TestV80_ADeviceGetsAnAccessToken of the person who logged in at the issuer, who is the one that
// browsers log in.
func TestV80_ADeviceGetsAnAccessToken(t *testing.T) {
	w := withIssuers(t)
	w.browser().enters(atCorp, "max")
	d := w.device(deviceOfCorp)
	if !strings.HasPrefix(d.At, w.corp.URL+"/") || d.UserCode == "" || d.Interval != 1 || d.Expires < 50 || d.Expires > 60 {
		t.Errorf("%+v", d)
	}
	d.wants("authorization_pending")
	w.corp.ApprovesDevice(t, d.UserCode)
	made := d.token("max")
	ends, err := time.Parse(time.RFC3339, made["expire_time"].(string))
	if err != nil || ends.After(time.Now().Add(time.Hour)) || ends.Before(time.Now().Add(59*time.Minute)) || made["description"] != "laptop" {
		t.Errorf("%v, %v", made, err)
	}
	if got := w.callAs(made["secret"].(string), 200, "GET", "/v1/caller", ""); got["principal"] != "users/max" {
		t.Errorf("%v", got)
	}
	list := w.callAs(made["secret"].(string), 200, "GET", "/v1/tenants/acme/users/max/accessTokens", "")
	if text, err := json.Marshal(list); err != nil || strings.Contains(string(text), made["secret"].(string)) || len(list["access_tokens"].([]any)) != 1 {
		t.Errorf("%s, %v", text, err)
	}
	w.corp.LogsIn("s-eve", "Eve", nil) // who was never here
	other := w.device(`{"tenant": "other"}`)
	w.corp.ApprovesDevice(t, other.UserCode)
	other.token("eve")
}

// TestV81_ADeviceLearnsHowItsLoginStands, in the words of RFC 8628; what comes too early, the
// issuer is not asked.
func TestV81_ADeviceLearnsHowItsLoginStands(t *testing.T) {
	w := withIssuers(t)
	d := w.device(deviceOfCorp)
	d.wants("authorization_pending")
	asked := 0
	w.corp.Between(func(issuer http.Handler) http.Handler { asked++; return issuer })
	for range 3 {
		if resp, said := d.askNow(); resp.StatusCode != http.StatusOK || said["state"] != "slow_down" || asked != 0 {
			t.Errorf("%s %v, asked %d times", resp.Status, said, asked)
		}
	}
	w.corp.Between(answering("/oauth/token", http.StatusBadRequest, `{"error": "slow_down"}`))
	d.wants("slow_down")
	w.corp.Between(nil)
	w.corp.ExpireDevice(t, d.UserCode)
	d.wants("expired_token")
	denied := w.device(deviceOfCorp)
	w.corp.DeniesDevice(t, denied.UserCode)
	before := w.state()
	denied.wants("access_denied")
	late := w.device(deviceOfCorp)
	w.corp.ApprovesDevice(t, late.UserCode)
	late.change(func(s *deviceState) { s.Ends = time.Now().Add(-time.Second) })
	late.wants("expired_token")
	if after := w.state(); after != before {
		t.Errorf("something changed: %s", after)
	}
}

func answering(path string, code int, body string) func(http.Handler) http.Handler {
	return func(issuer http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != path {
				issuer.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		})
	}
}

// change seals the login again, with a change.
func (d *atDevice) change(change func(*deviceState)) {
	d.t.Helper()
	state, err := d.service.openDevice(d.Code)
	if err != nil {
		d.t.Fatal(err)
	}
	change(&state)
	if d.Code, err = d.service.sealDevice(state); err != nil {
		d.t.Fatal(err)
	}
}

// TestV82_ACodeOfADeviceIsOfOneLogin: of the tenant and the provider that it began at, as it was
// sealed, and once.
func TestV82_ACodeOfADeviceIsOfOneLogin(t *testing.T) {
	w := withIssuers(t)
	w.browser().enters(atCorp, "max")
	before := w.state()
	approved := func() *atDevice {
		d := w.device(deviceOfCorp)
		w.corp.ApprovesDevice(t, d.UserCode)
		return d
	}
	for what, mutate := range map[string]func(d *atDevice){
		"no code":            func(d *atDevice) { d.Code = "" },
		"no base64":          func(d *atDevice) { d.Code = "%%%" },
		"one letter changed": func(d *atDevice) { d.Code = flipped(d.Code, len(d.Code)/2) },
		"cut":                func(d *atDevice) { d.Code = d.Code[:len(d.Code)-4] },
		"the state of a browser": func(d *atDevice) {
			sealed, err := d.service.loginKeys.Seal(`{"Tenant": "acme"}`, loginStates)
			if err != nil {
				t.Fatal(err)
			}
			d.Code = base64.RawURLEncoding.EncodeToString(sealed)
		},
		"too long":                 func(d *atDevice) { d.Code += strings.Repeat("A", maxLogin) },
		"a tenant made later":      func(d *atDevice) { d.change(func(s *deviceState) { s.TenantID++ }) },
		"another tenant":           func(d *atDevice) { d.change(func(s *deviceState) { s.Tenant = "other" }) },
		"a provider that is none":  func(d *atDevice) { d.change(func(s *deviceState) { s.Provider = 4711 }) },
		"another provider":         func(d *atDevice) { d.change(func(s *deviceState) { s.Provider = w.providerID("second") }) },
		"the code of none":         func(d *atDevice) { d.change(func(s *deviceState) { s.Code = "none" }) },
		"a tenant without the one": func(d *atDevice) { d.moveTo("other", w.providerID("second")) },
	} {
		d := approved()
		mutate(d)
		resp, said := d.ask()
		if said["state"] != "access_denied" && (resp.StatusCode < 400 || resp.StatusCode > 404) || said["access_token"] != nil {
			t.Errorf("%s: %s %v", what, resp.Status, said)
		}
	}
	if after := w.state(); after != before {
		t.Errorf("something changed: %s", after)
	}
	d := approved()
	d.token("max")
	for range 2 {
		if resp, said := d.ask(); resp.StatusCode != http.StatusBadRequest || said["access_token"] != nil {
			t.Errorf("a second time: %s %v", resp.Status, said)
		}
	}
	d = approved()
	d.token("max")
	second := serveAPI(t, w.store, func(c *Config, _ *Options) { c.Issuers, c.LoginKeys = w.service.issuers, w.service.loginKeys })
	second.listener("http")
	if resp, text := second.send("", "POST", deviceEndPath, `{"device_code": "`+d.Code+`"}`); resp.StatusCode != http.StatusBadRequest || strings.Contains(string(text), "secret") {
		t.Errorf("at another node: %s %s", resp.Status, text)
	}
}

func flipped(s string, i int) string {
	other := "A"
	if s[i] == 'A' {
		other = "B"
	}
	return s[:i] + other + s[i+1:]
}

// moveTo makes it the login at a provider of another tenant.
func (d *atDevice) moveTo(slug string, provider int64) {
	d.t.Helper()
	other, err := d.store.FindTenant(d.t.Context(), slug)
	if err != nil {
		d.t.Fatal(err)
	}
	d.change(func(s *deviceState) { s.Tenant, s.TenantID, s.Provider = other.Slug, other.ID, provider })
}

// providerID is the ID of a provider of acme.
func (w *issuers) providerID(slug string) int64 {
	w.t.Helper()
	acme, err := w.store.FindTenant(w.t.Context(), "acme")
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := w.service.issuers.Find(w.t.Context(), acme.ID, "identityProviders/"+slug)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}
