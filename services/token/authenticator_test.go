package token_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/password"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/token"
)

// counted counts the lookups of the accounts behind it.
type counted struct {
	login.Accounts
	lookups atomic.Int64
}

func (c *counted) FindAccountByKey(ctx context.Context, t tenant.ID, slug string, hash [32]byte) (meta.Login, error) {
	c.lookups.Add(1)
	return c.Accounts.FindAccountByKey(ctx, t, slug, hash)
}

func (c *counted) FindLogin(ctx context.Context, t tenant.ID, slug string, hash [32]byte) (meta.Login, error) {
	c.lookups.Add(1)
	return c.Accounts.FindLogin(ctx, t, slug, hash)
}

// cheap hashes fast, for tests that make many wrong logins.
var cheap = password.New(password.Cost{Memory: 64, Passes: 1, Lanes: 1})

func authenticator(a login.Accounts) *token.Authenticator {
	return token.NewAuthenticator(a, cheap, limit.NewLocal(token.MaxFailures, token.FailurePeriod))
}

func TestB10_UnknownAndKnownAccountsAreAlike(t *testing.T) {
	d := fronttest.New(t)
	acme := d.Tenant("acme", tenant.Settings{})
	d.Account(acme, "ci", access.Writer)
	a := d.Account(acme, "off", access.Writer)
	if _, err := d.Meta.UpdateAccount(t.Context(), fronttest.By(), meta.Account{ID: a.ID, Tenant: a.Tenant, Kind: access.ServiceKind, Slug: "off", Role: a.Role, Disabled: true}); err != nil {
		t.Fatal(err)
	}
	var first string
	for _, c := range []struct{ name, secret string }{
		{"ci", "wrong"},
		{"nobody", "wrong"},
		{"nobody", fronttest.Secret("ci")},
		{"off", fronttest.Secret("off")},
		{"off", "wrong"},
		{"CI", fronttest.Secret("ci")},
		{"ci ", fronttest.Secret("ci")},
		{"serviceAccounts/ci", fronttest.Secret("ci")},
		{"' OR 1=1 --", "x"},
		{"ci", ""},
	} {
		accounts := &counted{Accounts: d.Meta}
		_, err := authenticator(accounts).Authenticate(t.Context(), acme, c.name, c.secret)
		e := fault.From(err)
		if first == "" {
			first = e.Message
		}
		if e == nil || e.Kind != fault.Unauthenticated || e.Reason != fault.UnauthorizedReason || e.Message != first || e.Detail != nil {
			t.Errorf("%q: %+v", c.name, e)
		}
		if n := accounts.lookups.Load(); n != 1 {
			t.Errorf("%q: %d statements, want 1", c.name, n)
		}
	}
}

func TestB10_EleventhFailureIs429(t *testing.T) {
	d := serve(t)
	acme := d.Tenant("acme", tenant.Settings{AnonymousPull: true})
	d.Account(acme, "ci", access.Writer)
	wrong := get(acme.Host, "")
	for i := range 1000 {
		wrong.Header = http.Header{}
		r := &http.Request{Header: wrong.Header}
		r.SetBasicAuth(fmt.Sprintf("account-%d", i%7), "wrong")
		got := d.Do(wrong)
		if want := map[bool]int{true: 401, false: 429}[i < token.MaxFailures]; got.Status != want {
			t.Fatalf("try %d: %d, want %d", i+1, got.Status, want)
		}
		if got.Status == 429 && (got.Header.Get("Retry-After") == "" || got.Code() != "TOOMANYREQUESTS") {
			t.Fatalf("try %d: %v %s", i+1, got.Header, got.Body)
		}
	}
	login := get(acme.Host, "")
	login.Basic = "ci"
	if got := d.Do(login); got.Status != 429 {
		t.Errorf("the right secret from a limited address: %d", got.Status)
	}
	if got := d.Do(get(acme.Host, "scope=repository:a:pull")); got.Status != 200 {
		t.Errorf("an anonymous token from a limited address: %d", got.Status)
	}
}

func TestB10_AccountIsLimitedFromAllAddresses(t *testing.T) {
	d := fronttest.New(t)
	acme, other := d.Tenant("acme", tenant.Settings{}), d.Tenant("other", tenant.Settings{})
	for _, s := range []tenant.Site{acme, other} {
		d.Account(s, "ci", access.Writer)
	}
	onlyAccounts := token.NewAuthenticator(d.Meta, cheap, addressless{limit.NewLocal(token.MaxFailures, token.FailurePeriod)})
	for i := range token.MaxFailures {
		if _, err := onlyAccounts.Authenticate(t.Context(), acme, "ci", "wrong"); fault.KindOf(err) != fault.Unauthenticated {
			t.Fatalf("try %d: %v", i+1, err)
		}
	}
	if _, err := onlyAccounts.Authenticate(t.Context(), acme, "ci", "wrong"); fault.KindOf(err) != fault.TooMany || fault.From(err).RetryAfter <= 0 {
		t.Errorf("try 11: %v", err)
	}
	if _, err := onlyAccounts.Authenticate(t.Context(), other, "ci", fronttest.Secret("ci")); err != nil {
		t.Errorf("the account of that name of another tenant: %v", err)
	}
}

// A secret that was valid and is not any more is tried as often as any other.
func TestB10_AFormerSecretIsLimited(t *testing.T) {
	d := fronttest.New(t)
	acme := d.Tenant("acme", tenant.Settings{})
	d.Account(acme, "ci", access.Writer)
	a := authenticator(d.Meta)
	if _, err := a.Authenticate(t.Context(), acme, "ci", fronttest.Secret("ci")); err != nil {
		t.Fatal(err)
	}
	if err := d.Meta.DeleteAccountKey(t.Context(), fronttest.By(), acme.Tenant, access.ServiceKind, "ci", "k"); err != nil {
		t.Fatal(err)
	}
	limited := 0
	for range 2 * token.MaxFailures {
		_, err := a.Authenticate(t.Context(), acme, "ci", fronttest.Secret("ci"))
		switch fault.KindOf(err) {
		case fault.Unauthenticated:
		case fault.TooMany:
			limited++
		default:
			t.Fatal(err)
		}
	}
	if limited < token.MaxFailures-1 {
		t.Errorf("%d of %d tries were limited", limited, 2*token.MaxFailures)
	}
}

// Anyone who knows the name of an account could otherwise keep its owner out, at
// the price of one failure every few seconds.
func TestB10_StrangersDoNotLockAnAccountOut(t *testing.T) {
	d := fronttest.New(t)
	d.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	d.Serve(front.Services{Token: handler(d)})
	acme := d.Tenant("acme", tenant.Settings{})
	d.Account(acme, "ci", access.Writer)
	from := func(address string) fronttest.Request {
		r := get(acme.Host, "")
		r.Header = fronttest.Headers("X-Forwarded-For", address)
		return r
	}
	owner := from("192.0.2.1")
	owner.Basic = "ci"
	if got := d.Do(owner); got.Status != 200 {
		t.Fatalf("the owner: %d", got.Status)
	}
	for i := range 3 * token.MaxFailures { // from as many addresses as it takes
		stranger := from(fmt.Sprintf("198.51.100.%d", i))
		stranger.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("ci:wrong")))
		if got, want := d.Do(stranger).Status, map[bool]int{true: 401, false: 429}[i < token.MaxFailures]; got != want {
			t.Errorf("try %d of strangers: %d, want %d", i+1, got, want)
		}
	}
	if got := d.Do(owner); got.Status != 200 {
		t.Errorf("the owner, after strangers failed: %d", got.Status)
	}
	elsewhere := from("203.0.113.1")
	elsewhere.Basic = "ci"
	if got := d.Do(elsewhere); got.Status != 429 {
		t.Errorf("the right secret from an address of which nothing is known: %d", got.Status)
	}
	for range token.MaxFailures {
		thief := from("192.0.2.1")
		thief.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("ci:wrong")))
		if got := d.Do(thief); got.Status != 401 {
			t.Errorf("a wrong secret from the owner's address: %d", got.Status)
		}
	}
	if got := d.Do(owner); got.Status != 200 {
		t.Errorf("the owner, after another behind its address failed: %d", got.Status)
	}
	thief := from("192.0.2.1")
	thief.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("ci:another")))
	if got := d.Do(thief); got.Status != 429 {
		t.Errorf("another secret from the owner's address: %d", got.Status)
	}
}

// What clients of one tenant fail at behind an address is not held against those
// of another tenant behind the same one.
func TestS55_FailedLoginsAreCountedForEachTenant(t *testing.T) {
	d := serve(t)
	acme, other := d.Tenant("acme", tenant.Settings{}), d.Tenant("other", tenant.Settings{})
	for _, s := range []tenant.Site{acme, other} {
		d.Account(s, "ci", access.Writer)
	}
	for i := range 2 * token.MaxFailures {
		r := get(acme.Host, "")
		r.Header = fronttest.Headers("Authorization", "Basic "+base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "account-%d:wrong", i)))
		if got, want := d.Do(r).Status, map[bool]int{true: 401, false: 429}[i < token.MaxFailures]; got != want {
			t.Fatalf("try %d: %d, want %d", i+1, got, want)
		}
	}
	for host, want := range map[string]int{acme.Host: 429, other.Host: 200} {
		login := get(host, "")
		login.Basic = "ci"
		if got := d.Do(login); got.Status != want {
			t.Errorf("%s: the right secret from that address: %d, want %d", host, got.Status, want)
		}
	}
}

// Who is within trusted_proxies may name any address, and gets no further with it: the
// account is limited whatever addresses its failures come from.
func TestS12_RotatedAddressesPassNoLimit(t *testing.T) {
	d := fronttest.New(t)
	d.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	d.Serve(front.Services{Token: handler(d)})
	acme := d.Tenant("acme", tenant.Settings{})
	d.Account(acme, "ci", access.Writer)
	for i := range 3 * token.MaxFailures {
		r := get(acme.Host, "")
		r.Header = fronttest.Headers(
			"Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("ci:wrong-secret-of-more-than-twenty-bytes")),
			"X-Forwarded-For", fmt.Sprintf("203.0.113.%d, 10.0.0.%d", i, i), // the last is a proxy as well, and says nothing of its client
		)
		if got, want := d.Do(r).Status, map[bool]int{true: 401, false: 429}[i < token.MaxFailures]; got != want {
			t.Fatalf("try %d: %d, want %d", i+1, got, want)
		}
	}
}

// addressless counts by account only, as for a client with many addresses.
type addressless struct{ limit.Failures }

func (a addressless) Check(ctx context.Context, k limit.Key) error {
	if k.Kind == "address" {
		return nil
	}
	return a.Failures.Check(ctx, k)
}

// broken is a store, and a limit, that is down.
type broken struct{}

var errBroken = errors.New("connection refused")

func (broken) FindAccountByKey(context.Context, tenant.ID, string, [32]byte) (meta.Login, error) {
	return meta.Login{}, fault.Down(errBroken, "the metadata store")
}

func (broken) FindLogin(context.Context, tenant.ID, string, [32]byte) (meta.Login, error) {
	return meta.Login{}, fault.Down(errBroken, "the metadata store")
}

func (broken) RehashPassword(context.Context, tenant.ID, int64, string, string) error {
	return fault.Down(errBroken, "the metadata store")
}
func (broken) Check(context.Context, limit.Key) error { return fault.Down(errBroken, "the limit") }
func (broken) Add(context.Context, limit.Key) error   { return fault.Down(errBroken, "the limit") }

func TestB14_AnonymousTokensNeedNoStore(t *testing.T) {
	d := fronttest.New(t)
	public := d.Tenant("open", tenant.Settings{AnonymousPull: true})
	s := token.New(token.NewAuthenticator(broken{}, cheap, broken{}), d.Meta, d.Policies, d.Issuer)
	for range 1000 {
		if _, err := s.IssueToken(t.Context(), token.IssueTokenRequest{Site: public, Scopes: []string{"repository:a:pull"}}); err != nil {
			t.Fatal(err)
		}
	}
	s = token.New(authenticator(broken{}), d.Meta, d.Policies, d.Issuer)
	_, err := s.IssueToken(t.Context(), token.IssueTokenRequest{Site: public, Credential: &token.Credential{Name: "ci", Secret: "x"}})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a login without a store: %v; an outage is never a wrong password", err)
	}
}

func TestB16_CredentialHidesItsSecret(t *testing.T) {
	const canary = "canary-7f3a"
	req := token.IssueTokenRequest{Credential: &token.Credential{Name: "ci", Secret: canary}}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("request", "request", req, "credential", req.Credential, "value", *req.Credential)
	for name, text := range map[string]string{
		"%v": fmt.Sprintf("%v %v", req, req.Credential), "%+v": fmt.Sprintf("%+v %+v", req, *req.Credential),
		"%#v": fmt.Sprintf("%#v %#v", req, *req.Credential), "log": log.String(),
	} {
		if strings.Contains(text, canary) {
			t.Errorf("%s shows the secret: %s", name, text)
		}
	}
}
