// Package fronttest runs the data port of a small deployment for tests, on real
// metadata, real blobs and real tokens, behind everything that stands before a
// service in production.
package fronttest

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
	"github.com/berth-registry/berth/services/internal/usage"
)

// Base is the deployment's base domain: tenant acme answers at acme.localhost.
const Base = "localhost"

// By is the cause of what the deployment itself does to its metadata.
func By() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "operator"} }

// Deployment is one process on one directory.
type Deployment struct {
	Meta   *sqlitemeta.Store
	Blobs  *fsblob.Store
	Dir    string // the blobs'
	Sites  *tenant.Directory
	Issuer *access.Issuer
	// Policies are of the access rules in Meta.
	Policies *access.Policies
	Log      *slog.Logger
	Server   *httptest.Server // after Serve

	// Proxies are the networks whose forwarded headers are believed; set it
	// before Serve.
	Proxies []netip.Prefix
	// Calls limits running calls; nil: no limit.
	Calls *front.CallLimit
	// Rates limits what is used within a second; nil: no limit.
	Rates *front.Rates
	// Usage counts what tenants use; nil: nothing is counted.
	Usage *usage.Counters

	// Origins are those of web pages that may use the registry, likewise.
	Origins web.Origins
	// Pace and Pauses are what clients must keep to, likewise.
	Pace   web.Pace
	Pauses *web.Pauses

	verifier *access.Verifier
	registry *prometheus.Registry
	t        testing.TB
}

// New opens the stores; they close with the test.
func New(t testing.TB) *Deployment {
	t.Helper()
	return NewWith(t, sqlitemeta.Options{})
}

// NewWith is New with another clock, or other waits, than the default ones. It
// sets the directory itself.
func NewWith(t testing.TB, o sqlitemeta.Options) *Deployment {
	t.Helper()
	return NewIn(t, t.TempDir(), o, fsblob.Options{})
}

// NewIn is NewWith in a directory that is there, and with options for its blobs.
func NewIn(t testing.TB, dir string, o sqlitemeta.Options, b fsblob.Options) *Deployment {
	t.Helper()
	o.Dir = dir
	d := &Deployment{t: t, Dir: dir + "/blobs", Log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()}
	if err := fresh(dir); err != nil {
		t.Fatal(err)
	}
	var err error
	if d.Meta, err = sqlitemeta.Open(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if d.Blobs, err = fsblob.Open(d.Dir, b); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(d.Blobs.Close(), d.Meta.Close()); err != nil {
			t.Error(err)
		}
	})
	pattern, err := tenant.NewPattern(tenant.DotPattern, Base)
	if err != nil {
		t.Fatal(err)
	}
	d.Sites = tenant.NewDirectory(d.Meta, pattern)
	d.Policies = access.NewPolicies(meta.PolicyLoader{Store: d.Meta})
	secrets, err := seal.New([]byte("the secret key of the tests"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := access.OpenSigner(context.Background(), d.Meta, secrets, access.SignerOptions{Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := access.OpenKeys(context.Background(), d.Meta)
	if err != nil {
		t.Fatal(err)
	}
	d.Issuer, d.verifier = access.NewIssuer(signer, keys, "test"), access.NewVerifier(keys, "test").WithRevocations(d.revocations())
	return d
}

// revocations are those in Meta, read as in production until the test ends.
func (d *Deployment) revocations() *access.Revocations {
	d.t.Helper()
	r := access.NewRevocations(d.Meta.ListRevocations)
	if err := r.Read(context.Background()); err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	reading.Go(func() { r.Run(ctx, func(error) {}) })
	d.t.Cleanup(func() { cancel(); reading.Wait() })
	return r
}

// Middlewares are those around every operation in production.
func (d *Deployment) Middlewares() []kit.Middleware {
	return []kit.Middleware{kit.Tracing(noop.NewTracerProvider()), kit.Metrics(d.registry)}
}

// Handler puts before the services what is there in production.
func (d *Deployment) Handler(s front.Services) http.Handler {
	return web.Middleware{
		Listener: "data", Log: d.Log, Tracer: noop.NewTracerProvider().Tracer(""), Metrics: web.NewMetrics(d.registry),
		Scheme: "http", Proxies: d.Proxies, Pace: d.Pace, Pauses: d.Pauses,
	}.Wrap(front.New(front.Config{Sites: d.Sites, Tokens: d.verifier, Accounts: accounts{d.Meta}, Policies: d.Policies, Log: d.Log, Origins: d.Origins, Calls: d.Calls, Rates: d.Rates, Usage: d.Usage}, s))
}

// Serve starts the data port; it stops with the test. A service that is nil
// answers 501, so that a test sees where its request went.
func (d *Deployment) Serve(s front.Services) {
	d.t.Helper()
	for _, h := range []*http.Handler{&s.Registry, &s.Upload, &s.Token, &s.Proxy} {
		if *h == nil {
			*h = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotImplemented) })
		}
	}
	d.Server = httptest.NewUnstartedServer(d.Handler(s))
	d.Server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	d.Server.Config.ConnContext = web.KeepConn
	d.Server.Start()
	d.t.Cleanup(d.Server.Close)
}

// Tenant makes a tenant, whose main registry has the settings.
func (d *Deployment) Tenant(slug string, main tenant.Settings) tenant.Site {
	d.t.Helper()
	if _, err := d.Meta.CreateTenant(context.Background(), By(), meta.Tenant{Slug: slug}, main); err != nil {
		d.t.Fatal(err)
	}
	return d.Site(slug + "." + Base)
}

// Registry makes another registry of a tenant.
func (d *Deployment) Registry(of tenant.Site, slug string, s tenant.Settings) tenant.Site {
	d.t.Helper()
	if _, err := d.Meta.CreateRegistry(context.Background(), By(), meta.Registry{Tenant: of.Tenant, Slug: slug, Settings: s}); err != nil {
		d.t.Fatal(err)
	}
	return d.Site(slug + "." + of.TenantSlug + "." + Base)
}

// Group makes an upstream group of a tenant.
func (d *Deployment) Group(of tenant.Site, slug string, members ...meta.Member) {
	d.t.Helper()
	if _, err := d.Meta.CreateGroup(context.Background(), By(), meta.Group{Tenant: of.Tenant, Slug: slug, Members: members}); err != nil {
		d.t.Fatal(err)
	}
}

// Repo names a repository of a site.
func Repo(s tenant.Site, name string) meta.Repo {
	return meta.Repo{Tenant: s.Tenant, Registry: s.Registry, Name: name}
}

// Site is what a host leads to now.
func (d *Deployment) Site(host string) tenant.Site {
	d.t.Helper()
	d.Sites.Clear()
	s, err := d.Sites.Resolve(context.Background(), host)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// Account makes a service account of the site's tenant, whose secret is
// "secret-of-" and its slug.
func (d *Deployment) Account(s tenant.Site, slug string, role access.Role) access.Principal {
	d.t.Helper()
	ctx := context.Background()
	a, err := d.Meta.CreateAccount(ctx, By(), meta.Account{Tenant: s.Tenant, Kind: access.ServiceKind, Slug: slug, Role: role})
	if err != nil {
		d.t.Fatal(err)
	}
	key := meta.AccountKey{Name: "k", Hash: sha256.Sum256([]byte(Secret(slug)))}
	if _, err := d.Meta.CreateAccountKey(ctx, By(), s.Tenant, a.Kind, slug, key); err != nil {
		d.t.Fatal(err)
	}
	return a.Principal()
}

// Secret is the secret of an account that Account made.
func Secret(slug string) string { return "secret-of-" + slug }

// Token issues a token as the token endpoint would.
func (d *Deployment) Token(s tenant.Site, p access.Principal, scopes ...access.Scope) string {
	d.t.Helper()
	rights, err := d.Policies.Rights(context.Background(), &s, p, netip.Addr{})
	if err != nil {
		d.t.Fatal(err)
	}
	token, err := d.Issuer.Issue(&rights, scopes)
	if err != nil {
		d.t.Fatal(err)
	}
	return token.Raw
}

// accounts is Basic authentication as services/token does it, without its limits.
type accounts struct{ meta meta.AccountFinder }

func (a accounts) Authenticate(ctx context.Context, s tenant.Site, name, secret string) (access.Principal, error) {
	if name == "" { // means any account to the store
		return access.Principal{}, fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "wrong name or secret")
	}
	found, err := a.meta.FindAccountByKey(ctx, s.Tenant, name, sha256.Sum256([]byte(secret)))
	if fault.KindOf(err) == fault.NotFound {
		return access.Principal{}, fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "wrong name or secret")
	}
	return found.Principal(), err
}
