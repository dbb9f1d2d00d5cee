package token_test

import (
	"context"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/password"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/token"
)

// oneName is an authenticator that knows one name, and counts what it is asked for.
type oneName struct{ asked []string }

func (*oneName) Provider() string { return "directory" }

func (o *oneName) Authenticate(_ context.Context, a login.Attempt) (login.Identity, error) {
	o.asked = append(o.asked, a.Name)
	if a.Name != "Max.Muster" || a.Secret != "secret of max" {
		return login.Identity{}, login.ErrUnknown()
	}
	return login.Identity{Provider: "directory", Subject: "s", Principal: access.AccountPrincipal(access.UserKind, a.Tenant, 4711, "max-muster", access.Member)}, nil
}

func TestV32_PeopleAreAskedForAfterAccountsAndUnlessPasswordsAreOff(t *testing.T) {
	d := fronttest.New(t)
	acme := d.Tenant("acme", tenant.Settings{})
	d.Account(acme, "ci", access.Writer)
	people := &oneName{}
	a := authenticator(d.Meta).WithPeople(people)
	if p, err := a.Authenticate(t.Context(), acme, "ci", fronttest.Secret("ci")); err != nil || p.Name != "serviceAccounts/ci" || len(people.asked) != 0 {
		t.Errorf("%+v, %v, asked for %q", p, err, people.asked)
	}
	if p, err := a.Authenticate(t.Context(), acme, "Max.Muster", "secret of max"); err != nil || p.Name != "users/max-muster" || len(people.asked) != 1 {
		t.Errorf("%+v, %v, asked for %q", p, err, people.asked)
	}
	acme.NoPasswords = true
	if p, err := a.Authenticate(t.Context(), acme, "Max.Muster", "secret of max"); fault.KindOf(err) != fault.Unauthenticated || len(people.asked) != 1 {
		t.Errorf("without passwords: %+v, %v, asked for %q", p, err, people.asked)
	}
}

func TestV32_FailuresOfANameKeepNoOtherNameOut(t *testing.T) {
	d := fronttest.New(t)
	acme := d.Tenant("acme", tenant.Settings{})
	a := token.NewAuthenticator(d.Meta, cheap, addressless{limit.NewLocal(token.MaxFailures, token.FailurePeriod)}).WithPeople(&oneName{})
	for i := range token.MaxFailures {
		if _, err := a.Authenticate(t.Context(), acme, []string{"Eve.Muster", "eve.muster"}[i%2], "wrong"); fault.KindOf(err) != fault.Unauthenticated {
			t.Fatalf("try %d: %v", i, err)
		}
	}
	for _, name := range []string{"EVE.MUSTER", "eve.muster ", "eve.mu\u00adster", "ｅve.muster", "éve.muster"} {
		if _, err := a.Authenticate(t.Context(), acme, name, "wrong"); fault.KindOf(err) != fault.TooMany {
			t.Errorf("the name as %q: %v", name, err)
		}
	}
	if p, err := a.Authenticate(t.Context(), acme, "Max.Muster", "secret of max"); err != nil {
		t.Errorf("another name: %+v, %v", p, err)
	}
}

// TestV92_PersonTokensReachOnlyPeople: they are of no account, and no password of one.
func TestV92_PersonTokensReachOnlyPeople(t *testing.T) {
	d := fronttest.New(t)
	acme := d.Tenant("acme", tenant.Settings{})
	acme.NoPasswords = true
	people := &oneName{}
	a := authenticator(d.Meta).WithPeople(people)
	if _, err := a.Authenticate(t.Context(), acme, "max", password.PersonPrefix+"x"); fault.KindOf(err) != fault.Unauthenticated || len(people.asked) != 1 {
		t.Errorf("%v, asked for %q", err, people.asked)
	}
}
