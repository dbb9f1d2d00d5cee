package workload_test

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/pkg/workload"
	"github.com/berth-registry/berth/tools/testserver"
)

// host is that of the registry that jobs log in at.
const host = "acme.example.com"

// fromMain takes pushes to the main branch of acme/web.
const fromMain = `claims.repository == "acme/web" && claims.ref == "refs/heads/main" && claims.event_name == "push"`

// world is an Authenticator on a store, with an issuer and a clock of its own.
type world struct {
	meta.Store
	t      testing.TB
	issuer *testserver.Issuer
	auth   *workload.Authenticator
	tenant map[string]tenant.ID
	now    atomic.Pointer[time.Time]
	asked  atomic.Int64
	down   bool
}

var loopback = []upstream.Network{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}

// newWorld has the tenants acme and other, and upstreams and issuers in the networks.
func newWorld(t testing.TB, allow []upstream.Network) *world {
	t.Helper()
	store, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w := &world{Store: store, t: t, issuer: testserver.StartIssuer(t, ""), tenant: map[string]tenant.ID{}}
	w.advance(0)
	clients := upstream.New(upstream.Options{Allow: allow, Authorities: func() []byte { return w.issuer.CA }})
	w.auth = workload.New(workload.Config{
		Trusts: w, Named: clients.Transport, Led: clients.PublicTransport(), Now: func() time.Time { return *w.now.Load() },
	})
	for _, slug := range []string{"acme", "other"} {
		made, err := w.CreateTenant(t.Context(), by(), meta.Tenant{Slug: slug}, tenant.Settings{})
		w.must(err)
		w.tenant[slug] = made.ID
	}
	return w
}

func by() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "operator"} }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// advance lets time pass; 0 sets the clock to the present.
func (w *world) advance(d time.Duration) {
	now := time.Now()
	if before := w.now.Load(); before != nil && d != 0 {
		now = before.Add(d)
	}
	w.now.Store(&now)
}

// FindTrusts implements meta.TrustFinder.
func (w *world) FindTrusts(ctx context.Context, t tenant.ID, account, issuer string) ([]meta.TrustedAccount, error) {
	if w.asked.Add(1); w.down {
		return nil, fault.Down(context.DeadlineExceeded, "the metadata store")
	}
	return w.Store.FindTrusts(ctx, t, account, issuer)
}

// trusts makes the account ci of a tenant, with a trust in the issuer.
func (w *world) trusts(in string, k meta.Trust) {
	w.t.Helper()
	w.account(in, "ci")
	if k.Issuer == "" {
		k.Issuer = w.issuer.URL
	}
	k.Name = "github"
	_, err := w.CreateTrust(w.t.Context(), by(), w.tenant[in], "ci", k)
	w.must(err)
}

func (w *world) account(in, slug string) {
	w.t.Helper()
	_, err := w.CreateAccount(w.t.Context(), by(), meta.Account{Tenant: w.tenant[in], Kind: access.ServiceKind, Slug: slug, Role: access.Member})
	w.must(err)
}

// token signs claims, whose times are those of the clock.
func (w *world) token(claims map[string]any) string {
	w.t.Helper()
	now := w.now.Load().Unix()
	for claim, at := range map[string]int64{"iat": now, "nbf": now, "exp": now + 300} {
		if _, set := claims[claim]; !set {
			claims[claim] = at
		}
	}
	return w.issuer.Token(w.t, claims)
}

func (w *world) login(secret string) (login.Identity, error) {
	return w.auth.Authenticate(w.t.Context(), login.Attempt{Tenant: w.tenant["acme"], TenantSlug: "acme", Name: "ci", Secret: secret, Host: host})
}

func (w *world) wantIn(secret string) login.Identity {
	w.t.Helper()
	id, err := w.login(secret)
	if err != nil || id.Principal.Name != "serviceAccounts/ci" || id.Principal.Key != "trusts/github" || id.Key != id.Principal.Key {
		w.t.Errorf("%+v, %v: %s", id, err, workload.Why(err))
	}
	return id
}

// wantRefused fails the test unless the secret is refused, as all others are.
func (w *world) wantRefused(what, secret string) {
	w.t.Helper()
	id, err := w.login(secret)
	if !fault.Is(err, fault.ResourceUnknown) || err.Error() != login.ErrUnknown().Error() || id != (login.Identity{}) || workload.Why(err) == "" {
		w.t.Errorf("%s: %+v, %v (%s)", what, id, err, workload.Why(err))
	}
}

// wantDown fails the test unless the login fails for an outage.
func (w *world) wantDown(what, secret string) {
	w.t.Helper()
	if id, err := w.login(secret); fault.KindOf(err) != fault.Unavailable || fault.From(err).RetryAfter == 0 {
		w.t.Errorf("%s: %+v, %v", what, id, err)
	}
}
