package token_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// BenchmarkIssue_1000RulesAnd500Groups answers whole requests to /token, by HTTP on one
// connection for each client, with the key of a service account that is in all groups.
func BenchmarkIssue_1000RulesAnd500Groups(b *testing.B) {
	d := serve(b)
	acme := crowded(b, d)
	login := get(acme.Host, "scope=repository:team-999/app:pull,push")
	login.Basic = "ci"
	if got := d.Do(login); got.Status != 200 {
		b.Fatalf("%d %s", got.Status, got.Body)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if got, err := d.Send(login); err != nil || got.Status != 200 {
				b.Errorf("%d %v", got.Status, err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// crowded is a tenant with an account "ci" that is in 500 groups, which 1,000 rules name.
func crowded(b *testing.B, d *fronttest.Deployment) tenant.Site {
	b.Helper()
	acme := d.Tenant("acme", tenant.Settings{})
	ctx := b.Context()
	ci, err := d.Meta.CreateAccount(ctx, fronttest.By(), meta.Account{Tenant: acme.Tenant, Kind: access.ServiceKind, Slug: "ci", Role: access.Member})
	if err != nil {
		b.Fatal(err)
	}
	key := meta.AccountKey{Name: "k", Hash: sha256.Sum256([]byte(fronttest.Secret("ci")))}
	if _, err := d.Meta.CreateAccountKey(ctx, fronttest.By(), acme.Tenant, ci.Kind, "ci", key); err != nil {
		b.Fatal(err)
	}
	for i := range 500 {
		g := meta.PrincipalGroup{Tenant: acme.Tenant, Slug: fmt.Sprintf("g%d", i), Members: []string{ci.Principal().Name}}
		if _, err := d.Meta.CreatePrincipalGroup(ctx, fronttest.By(), g); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 1000 {
		r := meta.AccessRule{Tenant: acme.Tenant, Rule: access.Rule{
			Slug: fmt.Sprintf("r%d", i), Principals: []string{fmt.Sprintf("groups/g%d", i%500)},
			Repositories: []string{fmt.Sprintf("team-%d/**", i)}, Actions: access.Pull | access.Push,
		}}
		if _, err := d.Meta.CreateAccessRule(ctx, fronttest.By(), r); err != nil {
			b.Fatal(err)
		}
	}
	return d.Site(acme.Host)
}
