// Package logintest is the conformance suite of package login: what every authenticator must
// do with what clients send.
package logintest

import (
	"cmp"
	"context"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Harness is an authenticator with a few accounts of two tenants.
type Harness struct {
	Authenticator login.Authenticator
	Tenant, Other tenant.ID

	// Alice is in both tenants, with different secrets. Bob is in the first one.
	Alice, Bob, OtherAlice Account

	Disable func(name string)         // ends an account of the first tenant
	Break   func(broken bool)         // begins and ends an outage of what the authenticator asks
	Asked   func() int                // how often it asked; nil: it is not counted
	Remake  func(name string) Account // deletes an account of the first tenant, and makes one of that name again

	Wrong string // a secret of no account, which the authenticator has to look up; empty: "wrong-secret"
}

// Account is a name with its secret.
type Account struct{ Name, Secret string }

// Open makes a Harness for one test.
type Open func(t testing.TB) Harness

// Run runs the suite.
func Run(t *testing.T, open Open) {
	t.Run("finds the principal", func(t *testing.T) { testFinds(t, open(t)) })
	t.Run("answers everything else alike", func(t *testing.T) { testAlike(t, open(t)) })
	t.Run("finds no account that has ended", func(t *testing.T) {
		h := open(t)
		h.Disable(h.Bob.Name)
		h.refused(t, h.Tenant, h.Bob)
		h.found(t, h.Tenant, h.Alice)
	})
	t.Run("gives a subject to one account for ever", func(t *testing.T) {
		h := open(t)
		before := h.found(t, h.Tenant, h.Bob)
		again := h.Remake(h.Bob.Name)
		if after := h.found(t, h.Tenant, again); after.Subject == before.Subject || after.Principal.ID == before.Principal.ID {
			t.Errorf("a later account of the name is %+v, as the earlier one", after)
		}
		if again.Secret != h.Bob.Secret {
			h.refused(t, h.Tenant, h.Bob)
		}
	})
	t.Run("tells an outage from a wrong secret", func(t *testing.T) {
		h := open(t)
		h.Break(true)
		for _, secret := range []string{h.Bob.Secret, cmp.Or(h.Wrong, "wrong-secret")} {
			_, err := h.try(t.Context(), h.Tenant, h.Bob.Name, secret)
			if fault.Is(err, fault.ResourceUnknown) || fault.KindOf(err) != fault.Unavailable {
				t.Errorf("during an outage: %v", err)
			}
		}
		h.Break(false)
		h.found(t, h.Tenant, h.Bob)
	})
}

func testFinds(t *testing.T, h Harness) {
	alice, bob, other := h.found(t, h.Tenant, h.Alice), h.found(t, h.Tenant, h.Bob), h.found(t, h.Other, h.OtherAlice)
	if alice.Subject == bob.Subject {
		t.Errorf("two accounts are one subject: %+v", alice)
	}
	if alice.Principal.Tenant != h.Tenant || other.Principal.Tenant != h.Other || alice.Principal.ID == other.Principal.ID {
		t.Errorf("alice is %+v and %+v", alice, other)
	}
	if again := h.found(t, h.Tenant, h.Alice); again != alice {
		t.Errorf("the same login is %+v, and was %+v", again, alice)
	}
}

func testAlike(t *testing.T, h Harness) {
	attempts := map[string]Account{
		"an unknown name":              {"nobody-of-the-tenant", h.Alice.Secret},
		"a wrong secret":               {h.Alice.Name, "wrong-secret-of-alice"},
		"another's secret":             {h.Alice.Name, h.Bob.Secret},
		"an empty secret":              {h.Alice.Name, ""},
		"an empty name":                {"", h.Alice.Secret},
		"nothing":                      {"", ""},
		"another case":                 {strings.ToUpper(h.Alice.Name), h.Alice.Secret},
		"a name of a principal":        {"users/" + h.Alice.Name, h.Alice.Secret},
		"a long secret":                {h.Alice.Name, strings.Repeat(h.Alice.Secret, 10_000)},
		"the secret twice":             {h.Alice.Name, h.Alice.Secret + h.Alice.Secret},
		"a long name":                  {strings.Repeat("a", 1<<20), h.Alice.Secret},
		"SQL":                          {"' OR 1=1 --", "' OR 1=1 --"},
		"LDAP":                         {"*)(uid=*", "*"},
		"NUL":                          {h.Alice.Name + "\x00", h.Alice.Secret},
		"no UTF-8":                     {h.Alice.Name, "\xff\xfe"},
		"a generated secret":           {h.Alice.Name, "berth_" + strings.Repeat("A", 43)},
		"a secret of the other tenant": {h.OtherAlice.Name, h.OtherAlice.Secret},
	}
	want := login.ErrUnknown().Error()
	for name, a := range attempts {
		before := h.asked()
		id, err := h.try(t.Context(), h.Tenant, a.Name, a.Secret)
		if !fault.Is(err, fault.ResourceUnknown) || err.Error() != want || id != (login.Identity{}) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		if n := h.asked() - before; n > 1 {
			t.Errorf("%s: %d statements", name, n)
		}
	}
}

func (h Harness) asked() int {
	if h.Asked == nil {
		return 0
	}
	return h.Asked()
}

func (h Harness) try(ctx context.Context, t tenant.ID, name, secret string) (login.Identity, error) {
	return h.Authenticator.Authenticate(ctx, login.Attempt{Tenant: t, Name: name, Secret: secret, Host: "acme.example.com"})
}

func (h Harness) refused(t *testing.T, of tenant.ID, a Account) {
	t.Helper()
	if id, err := h.try(t.Context(), of, a.Name, a.Secret); !fault.Is(err, fault.ResourceUnknown) {
		t.Errorf("%s: %+v, %v", a.Name, id, err)
	}
}

func (h Harness) found(t *testing.T, of tenant.ID, a Account) login.Identity {
	t.Helper()
	id, err := h.try(t.Context(), of, a.Name, a.Secret)
	if err != nil {
		t.Fatalf("%s: %v", a.Name, err)
	}
	_, slug, ok := access.AccountOf(id.Principal.Name)
	if id.Provider != h.Authenticator.Provider() || id.Provider == "" || id.Subject == "" || !ok || slug != a.Name || id.Principal.ID == 0 {
		t.Errorf("%s is %+v", a.Name, id)
	}
	return id
}
