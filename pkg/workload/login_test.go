package workload_test

import (
	"crypto/rand"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/login/logintest"
	"github.com/berth-registry/berth/pkg/meta"
)

// TestV50_TheAuthenticatorPassesTheSuite: each account trusts a job of its own.
func TestV50_TheAuthenticatorPassesTheSuite(t *testing.T) {
	logintest.Run(t, func(t testing.TB) logintest.Harness {
		w := newWorld(t, loopback)
		account := func(in, slug string) logintest.Account {
			w.account(in, slug)
			job := rand.Text()
			k := meta.Trust{Name: "job", Issuer: w.issuer.URL, Condition: `claims.sub == "` + job + `"`}
			_, err := w.CreateTrust(w.t.Context(), by(), w.tenant[in], slug, k)
			w.must(err)
			return logintest.Account{Name: slug, Secret: w.token(map[string]any{"aud": host, "sub": job})}
		}
		find := func(name string) meta.Account {
			a, err := w.FindAccount(w.t.Context(), w.tenant["acme"], access.ServiceKind, name)
			w.must(err)
			return a
		}
		return logintest.Harness{
			Authenticator: w.auth, Tenant: w.tenant["acme"], Other: w.tenant["other"],
			Alice: account("acme", "alice"), Bob: account("acme", "bob"), OtherAlice: account("other", "alice"),
			Disable: func(name string) {
				a := find(name)
				a.Disabled = true
				_, err := w.UpdateAccount(w.t.Context(), by(), a)
				w.must(err)
			},
			Remake: func(name string) logintest.Account {
				w.must(w.DeleteAccount(w.t.Context(), by(), w.tenant["acme"], access.ServiceKind, name, 0))
				return account("acme", name)
			},
			Break: func(broken bool) { w.down = broken },
			Asked: func() int { return int(w.asked.Load()) },
			Wrong: w.token(map[string]any{"aud": host, "sub": "a job of no account"}),
		}
	})
}
