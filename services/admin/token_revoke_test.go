package admin

import (
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
)

// TestU53_TokensAreRevoked of service accounts and users, by the operator and the tenant's
// admin; validate_only revokes nothing.
func TestU53_TokensAreRevoked(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	admin := a.account("acme", "admin", "ADMIN")
	a.account("acme", "ci", "WRITER")
	tn, err := a.store.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	alice := meta.Account{Tenant: tn.ID, Kind: access.UserKind, Slug: "alice", Role: access.Member}
	if _, err := a.store.CreateAccount(t.Context(), cause(t.Context()), alice); err != nil {
		t.Fatal(err)
	}
	epoch := func(k access.Kind, slug string) int64 {
		t.Helper()
		found, err := a.store.FindAccount(t.Context(), tn.ID, k, slug)
		if err != nil {
			t.Fatal(err)
		}
		return found.Epoch
	}
	for _, c := range []struct {
		path string
		kind access.Kind
		slug string
	}{{"serviceAccounts/ci", access.ServiceKind, "ci"}, {"users/alice", access.UserKind, "alice"}} {
		path := "/v1/tenants/acme/" + c.path + ":revokeTokens"
		a.call(200, "POST", path, `{"validate_only": true}`)
		if n := epoch(c.kind, c.slug); n != 0 {
			t.Errorf("%s: epoch %d after validate_only", c.path, n)
		}
		a.call(200, "POST", path, `{}`)
		if resp, text := a.send(admin, "POST", path, `{}`); resp.StatusCode != 200 {
			t.Errorf("the tenant's admin: %d %s", resp.StatusCode, text)
		}
		if n := epoch(c.kind, c.slug); n != 2 {
			t.Errorf("%s: epoch %d after two calls", c.path, n)
		}
	}
	a.call(404, "POST", "/v1/tenants/acme/users/ci:revokeTokens", `{}`)
	a.call(404, "POST", "/v1/tenants/acme/serviceAccounts/none:revokeTokens", `{}`)
}
