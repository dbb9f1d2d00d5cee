package token_test

import (
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/pkg/workload"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/internal/keyuse"
	"github.com/berth-registry/berth/services/token"
	"github.com/berth-registry/berth/tools/testserver"
)

// jobs is a tenant whose account ci trusts jobs of acme/web at an issuer.
type jobs struct {
	*fronttest.Deployment
	acme   tenant.Site
	issuer *testserver.Issuer
	auth   *token.Authenticator
	uses   *keyuse.Uses

	workload *workload.Authenticator
}

func withJobs(t *testing.T) jobs {
	t.Helper()
	d := fronttest.New(t)
	j := jobs{Deployment: d, acme: d.Tenant("acme", tenant.Settings{}), issuer: testserver.StartIssuer(t, ""), uses: keyuse.New(d.Meta, slog.New(slog.DiscardHandler))}
	clients := upstream.New(upstream.Options{
		Allow: []upstream.Network{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}, Authorities: func() []byte { return j.issuer.CA },
	})
	j.workload = workload.New(workload.Config{Trusts: d.Meta, Named: clients.Transport, Led: clients.PublicTransport()})
	j.auth = token.NewAuthenticator(d.Meta, cheap, limit.NewLocal(token.MaxFailures, token.FailurePeriod)).WithUses(j.uses).WithJobs(j.workload)
	d.Serve(front.Services{Token: handlerOf(d, j.auth, d.Meta)})
	d.Account(j.acme, "ci", access.Writer)
	k := meta.Trust{Name: "github", Issuer: j.issuer.URL, Condition: `claims.repository == "acme/web"`}
	if _, err := d.Meta.CreateTrust(t.Context(), fronttest.By(), j.acme.Tenant, "ci", k); err != nil {
		t.Fatal(err)
	}
	return j
}

func (j jobs) token(t *testing.T) string {
	return j.issuer.Token(t, testserver.GitHub(j.acme.Host, "acme/web", "main"))
}

// TestV49_JobsGetNoRefreshToken, and their last use is noted as that of a key.
func TestV49_JobsGetNoRefreshToken(t *testing.T) {
	j := withJobs(t)
	form := url.Values{
		"grant_type": {"password"}, "username": {"ci"}, "password": {j.token(t)}, "client_id": {"docker"}, "access_type": {"offline"},
		"scope": {"repository:app:pull,push"},
	}
	var got oauth
	if status := got.read(t, j.Do(post(j.acme.Host, form))); status != 200 || got.AccessToken == "" || got.RefreshToken != "" {
		t.Fatalf("%d %+v", status, got)
	}
	tokens, err := j.Meta.ListRefreshTokens(t.Context(), j.acme.Tenant, access.ServiceKind, "ci")
	if err != nil || len(tokens) != 0 {
		t.Errorf("%+v, %v", tokens, err)
	}
	j.uses.Flush(t.Context())
	trusts, err := j.Meta.ListTrusts(t.Context(), j.acme.Tenant, "ci")
	if err != nil || len(trusts) != 1 || trusts[0].UsedAt.IsZero() || trusts[0].UsedFrom != "127.0.0.1" {
		t.Errorf("%+v, %v", trusts, err)
	}
}

// TestV50_JobsDoNotDependOnPasswords: disable_password_login is not about them, no password is
// compared for what has the form of a token, and keys of the account work beside them.
func TestV50_JobsDoNotDependOnPasswords(t *testing.T) {
	j := withJobs(t)
	for _, off := range []bool{false, true} {
		j.acme.NoPasswords = off
		p, err := j.auth.Authenticate(t.Context(), j.acme, "ci", j.token(t))
		if err != nil || p.Name != "serviceAccounts/ci" || p.Key != access.TrustKey("github") || p.Role != access.Writer {
			t.Errorf("without passwords %t: %+v, %v", off, p, err)
		}
		if p, err := j.auth.Authenticate(t.Context(), j.acme, "ci", fronttest.Secret("ci")); err != nil || p.Key != "k" {
			t.Errorf("by key: %+v, %v", p, err)
		}
	}
	form := j.issuer.Token(t, testserver.GitHub(j.acme.Host, "mallory/web", "main"))
	hash, err := cheap.Hash(t.Context(), j.acme.Tenant, form)
	if err != nil {
		t.Fatal(err)
	}
	a := meta.Account{Tenant: j.acme.Tenant, Kind: access.UserKind, Slug: "alice", Role: access.Writer, Password: hash}
	if _, err := j.Meta.CreateAccount(t.Context(), fronttest.By(), a); err != nil {
		t.Fatal(err)
	}
	j.acme.NoPasswords = false
	if p, err := j.auth.Authenticate(t.Context(), j.acme, "alice", form); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a password of the form of a token: %+v, %v", p, err)
	}
	if p, err := j.auth.AuthenticateAtAnyTenant(t.Context(), tenant.Site{Tenant: j.acme.Tenant}, "ci", j.token(t)); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a session of a browser: %+v, %v", p, err)
	}
}

// TestV50_WrongTokensCountAsFailures of their address, and say the same as wrong passwords.
func TestV50_WrongTokensCountAsFailures(t *testing.T) {
	j := withJobs(t)
	_, want := j.auth.Authenticate(t.Context(), j.acme, "ci", "a wrong password")
	wrong := []string{
		j.issuer.Token(t, testserver.GitHub(j.acme.Host, "mallory/web", "main")),
		j.issuer.Token(t, testserver.GitHub("other.localhost", "acme/web", "main")),
		strings.TrimRight(j.token(t), "abcdefgh") + "A",
	}
	for i := range token.MaxFailures - 1 {
		_, err := j.auth.Authenticate(t.Context(), j.acme, "ci", wrong[i%len(wrong)])
		if got, as := fault.From(err), fault.From(want); got.Kind != as.Kind || got.Reason != as.Reason || got.Message != as.Message || got.Detail != nil {
			t.Errorf("%v, and not %v", err, want)
		}
	}
	if _, err := j.auth.Authenticate(t.Context(), j.acme, "ci", j.token(t)); fault.KindOf(err) != fault.TooMany {
		t.Errorf("after too many: %v", err)
	}
}

// TestV50_WrongTokensKeepNoJobOut that comes from another address, as wrong passwords do.
func TestV50_WrongTokensKeepNoJobOut(t *testing.T) {
	j := withJobs(t)
	wrong := j.issuer.Token(t, testserver.GitHub(j.acme.Host, "mallory/web", "main"))
	auth := token.NewAuthenticator(j.Meta, cheap, addressless{limit.NewLocal(token.MaxFailures, token.FailurePeriod)}).WithJobs(j.workload)
	try := func(secret string) fault.Kind {
		_, err := auth.Authenticate(t.Context(), j.acme, "ci", secret)
		return fault.KindOf(err)
	}
	for i := range 2 * token.MaxFailures {
		if kind := try(wrong); kind != fault.Unauthenticated {
			t.Fatalf("try %d: %v", i, kind)
		}
	}
	for range token.MaxFailures {
		try("a wrong password")
	}
	if kind := try("a wrong password"); kind != fault.TooMany {
		t.Errorf("a password after too many: %v", kind)
	}
	if _, err := auth.Authenticate(t.Context(), j.acme, "ci", j.token(t)); err != nil {
		t.Errorf("a job: %v", err)
	}
}
