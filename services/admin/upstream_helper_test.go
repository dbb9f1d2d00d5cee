package admin

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/credential"
	"github.com/berth-registry/berth/pkg/upstream"
)

// helping are chains whose operator declares credential helpers.
type helping struct {
	silent
	clients *upstream.Clients
}

func (h *helping) CheckHelper(name, tenantSlug, url string) error {
	return h.clients.CheckHelper(name, tenantSlug, url)
}

// TestT54_TheAPITakesTheNameOfAHelper, if it is granted to the tenant for the host, and
// nothing else of it.
func TestT54_TheAPITakesTheNameOfAHelper(t *testing.T) {
	declared, err := credential.Parse([]byte("gcp: {kind: google, tenants: [acme]}\ncmd: {kind: exec, tenants: [acme], hosts: [quay.io], command: [/bin/x]}"))
	if err != nil {
		t.Fatal(err)
	}
	chains := &helping{clients: upstream.New(upstream.Options{Helpers: credential.New(declared, slog.New(slog.DiscardHandler))})}
	a := newAPI(t, func(c *Config, _ *Options) { c.Chains = chains })
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants?tenant_id=globex", "")
	for _, c := range []struct {
		tenant, body string
		says         string // empty: it is made
	}{
		{"acme", `{"url": "https://eu.gcr.io", "credential_helper": "gcp"}`, ""},
		{"acme", `{"url": "https://quay.io", "credential_helper": "cmd"}`, ""},
		{"globex", `{"url": "https://eu.gcr.io", "credential_helper": "gcp"}`, "no credential helper"},
		{"acme", `{"url": "https://ghcr.io", "credential_helper": "gcp"}`, "gives no credential to ghcr.io"},
		{"acme", `{"url": "https://eu.gcr.io", "credential_helper": "/bin/sh"}`, "no credential helper"},
		{"acme", `{"url": "https://eu.gcr.io", "credential_helper": "none"}`, "no credential helper"},
		{"acme", `{"url": "https://eu.gcr.io", "credential_helper": "gcp", "username": "u"}`, "leave both empty"},
		{"acme", `{"url": "https://eu.gcr.io", "credential_helper": "gcp", "username": "u", "password": "p"}`, "leave both empty"},
	} {
		want := 200
		if c.says != "" {
			want = 400
		}
		got := fmt.Sprint(a.call(want, "POST", "/v1/tenants/"+c.tenant+"/upstreams?upstream_id=up", c.body))
		if c.says != "" {
			if !strings.Contains(got, c.says) || !strings.Contains(got, "field:credential_helper") {
				t.Errorf("%s: %s, want %q of the field", c.body, got, c.says)
			}
			continue
		}
		was := a.upstream("acme", "up")
		if shown := fmt.Sprint(a.call(200, "GET", "/v1/tenants/acme/upstreams/up", "")); !strings.Contains(shown, "credential_helper:"+was.Settings.CredentialHelper) {
			t.Errorf("shown as %s", shown)
		}
		a.call(400, "PATCH", "/v1/tenants/acme/upstreams/up", `{"url": "https://ghcr.io"}`)
		a.call(200, "PATCH", "/v1/tenants/acme/upstreams/up", `{"keep": "3600s"}`)
		if is := a.upstream("acme", "up"); is.Cache != was.Cache {
			t.Error("a change of something else gives up the cache")
		}
		a.call(200, "PATCH", "/v1/tenants/acme/upstreams/up", `{"credential_helper": ""}`)
		if is := a.upstream("acme", "up"); is.Cache == was.Cache || is.Settings.HasCredential() {
			t.Errorf("without the helper the cache stays: %+v", is)
		}
		a.call(200, "DELETE", "/v1/tenants/acme/upstreams/up", "")
	}
}
