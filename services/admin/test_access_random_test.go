package admin

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
)

// randomRights replaces rules, settings and what groups delegate.
func (a *api) randomRights(r *rand.Rand) {
	a.t.Helper()
	ctx := a.t.Context()
	acme, err := a.store.FindTenant(ctx, "acme")
	if err != nil {
		a.t.Fatal(err)
	}
	by := func() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "operator"} }
	old, err := a.service.allAccessRules(ctx, acme.ID)
	for _, rule := range old {
		err = errors.Join(err, a.store.DeleteAccessRule(ctx, by(), acme.ID, rule.Slug, rule.Version))
	}
	pick := func(from ...string) []string {
		some := []string{from[r.IntN(len(from))]}
		if more := from[r.IntN(len(from))]; more != some[0] {
			some = append(some, more)
		}
		return some
	}
	for i := range r.IntN(7) {
		rule := access.Rule{
			Slug: fmt.Sprint("rule-", i), Deny: r.IntN(3) == 0, Actions: access.Actions(1+r.IntN(15)) | access.Pull,
			Principals: pick("users/alice", "users/bob", "groups/team", "authenticated", "anonymous"), Repositories: pick("a", "a/**", "**", "b/*/d", "proxy/**"),
		}
		if r.IntN(2) == 0 {
			rule.Registries = pick("dev", "prod", "ba*")
		}
		if r.IntN(4) == 0 {
			rule.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}
		if r.IntN(4) == 0 {
			rule.Until = time.Now().Add(time.Duration(r.IntN(2)*2-1) * time.Hour)
		}
		_, e := a.store.CreateAccessRule(ctx, by(), meta.AccessRule{Tenant: acme.ID, Rule: rule, Disabled: r.IntN(5) == 0})
		err = errors.Join(err, e)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	for _, slug := range []string{"dev", "prod"} {
		a.call(200, "PATCH", "/v1/tenants/acme/registries/"+slug, fmt.Sprintf(`{"anonymous_pull": %t, "read_only": %t}`, r.IntN(3) == 0, r.IntN(4) == 0))
	}
	a.call(200, "PATCH", "/v1/tenants/acme/upstreamGroups/chain", fmt.Sprintf(`{"members": [{"registry": "prod", "delegate": %t}, {"upstream": "hub"}]}`, r.IntN(2) == 0))
	a.call(200, "PATCH", "/v1/tenants/acme/upstreamGroups/below", fmt.Sprintf(`{"members": [{"registry": "base", "delegate": %t}, {"upstream": "hub"}]}`, r.IntN(2) == 0))
}
