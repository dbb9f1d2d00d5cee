package admin

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
)

// refreshToken adds one of a service account, and returns its secret.
func (a *api) refreshToken(tenantSlug, slug, name string) string {
	a.t.Helper()
	tn, err := a.store.FindTenant(a.t.Context(), tenantSlug)
	if err != nil {
		a.t.Fatal(err)
	}
	account, err := a.store.FindAccount(a.t.Context(), tn.ID, access.ServiceKind, slug)
	if err != nil {
		a.t.Fatal(err)
	}
	secret := "berth_refresh_" + tenantSlug + slug + name
	r := meta.RefreshToken{Name: name, Hash: sha256.Sum256([]byte(secret)), Client: "docker", CreatedFrom: "192.0.2.1"}
	if err := a.store.CreateRefreshToken(a.t.Context(), account.Principal(), r, time.Hour); err != nil {
		a.t.Fatal(err)
	}
	return secret
}

// TestU58_RefreshTokensAreListedAndEnded by the tenant's admin; one is no credential of the
// admin API, and no answer has it.
func TestU58_RefreshTokensAreListedAndEnded(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	admin := a.account("acme", "admin", "ADMIN")
	refresh := a.refreshToken("acme", "admin", "laptop")
	parent := "/v1/tenants/acme/serviceAccounts/admin/refreshTokens"
	list := func() []any {
		t.Helper()
		return a.call(200, "GET", parent, "")["refresh_tokens"].([]any)
	}
	got := list()
	if len(got) != 1 {
		t.Fatalf("%v", got)
	}
	r := got[0].(map[string]any)
	if r["name"] != "tenants/acme/serviceAccounts/admin/refreshTokens/laptop" || r["client_id"] != "docker" || r["create_address"] != "192.0.2.1" ||
		r["last_used_time"] == nil || r["last_used_address"] != "192.0.2.1" || r["expire_time"] == nil {
		t.Errorf("%v", r)
	}
	if resp, text := a.send(refresh, "GET", parent, ""); resp.StatusCode != 401 {
		t.Errorf("it opens the admin API: %d %s", resp.StatusCode, text)
	}
	if resp, _ := a.send(admin, "DELETE", parent+"/laptop?validate_only=true", ""); resp.StatusCode != 200 || len(list()) != 1 {
		t.Errorf("validate_only: %d, left are %v", resp.StatusCode, list())
	}
	if resp, text := a.send(admin, "DELETE", parent+"/laptop", ""); resp.StatusCode != 200 || len(list()) != 0 {
		t.Errorf("%d %s, left are %v", resp.StatusCode, text, list())
	}
	a.call(404, "DELETE", parent+"/laptop", "")
}
