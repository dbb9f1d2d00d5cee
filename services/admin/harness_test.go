package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/limit"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/password"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/policy"
	"github.com/berth-registry/berth/services/internal/promotion"
	"github.com/berth-registry/berth/services/token"
)

const operatorToken = "operator-token-of-the-tests"

// api is the whole service on a store of its own, behind both transports.
type api struct {
	t       *testing.T
	store   testStore
	service *Service
	server  *Server
	url     string // of REST
	addr    string // of gRPC
}

// testStore is what the tests need beside the service itself.
type testStore interface {
	Store
	meta.Manifests
	meta.Cache
	promotion.Meta
	meta.SigningKeys
	meta.WebhookDeliveries
	meta.PrefetchRuns
	meta.UsageHours
	meta.Identities
	tenant.Finder
}

// silent are chains in which no one has anything.
type silent struct{}

func (silent) Resolve(_ context.Context, _ tenant.ID, _, registry, name string, ref oci.Reference, _ bool, _ chain.Caller) (chain.Trace, error) {
	return chain.Trace{
		Name: name, Reference: ref.String(), Winner: -1, Outcome: chain.NotHere,
		Answers: []chain.Answer{{Member: "registries/" + registry, Outcome: chain.NotHere}},
	}, nil
}

func (silent) CheckAddress(context.Context, string, string, string) error { return nil }
func (silent) CheckHelper(string, string, string) error                   { return nil }

func (silent) Refresh(_ context.Context, _ string, u meta.Upstream, _ string, _ oci.Reference) (chain.Answer, error) {
	return chain.Answer{Member: "upstreams/" + u.Slug, Outcome: chain.NotHere}, nil
}

// newAPI starts one; change may touch the configuration.
func newAPI(t *testing.T, change ...func(*Config, *Options)) *api {
	t.Helper()
	store, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return serveAPI(t, store, change...)
}

// serveAPI starts one on a store that is there.
func serveAPI(t *testing.T, store testStore, change ...func(*Config, *Options)) *api {
	t.Helper()
	pattern, err := tenant.NewPattern(tenant.DotPattern, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := seal.New([]byte("the secret key of the tests"))
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Store: store, Pattern: pattern, OperatorToken: operatorToken, PageKey: []byte("page key of the tests"),
		Secrets: secrets, Chains: silent{}, Promotions: promotion.New(store, nil, policy.NewTrust(nil)), Trust: policy.NewTrust(nil),
		Logins: token.NewAuthenticator(store, password.New(password.DefaultCost), limit.NewLocal(token.MaxFailures, token.FailurePeriod)),
	}
	o := Options{Log: slog.New(slog.DiscardHandler), Tracer: noop.NewTracerProvider()}
	for _, f := range change {
		f(&c, &o)
	}
	service, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	server, err := NewServer(service, o)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.ServeGRPC(listener) }()
	rest := httptest.NewServer(server)
	t.Cleanup(func() {
		rest.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		for range 2 {
			if err := server.Close(ctx); err != nil {
				t.Error(err)
			}
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &api{t: t, store: store, service: service, server: server, url: rest.URL, addr: listener.Addr().String()}
}

// send makes one REST request. Headers are "Name: value" lines.
func (a *api) send(token, method, path, body string, headers ...string) (*http.Response, []byte) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		a.t.Fatal(err)
	}
	return resp, text
}

// call is send as the operator; it fails the test on any answer but want, and
// returns the JSON object of the answer.
func (a *api) call(want int, method, path, body string) map[string]any {
	a.t.Helper()
	return a.callAs(operatorToken, want, method, path, body)
}

func (a *api) callAs(token string, want int, method, path, body string) map[string]any {
	a.t.Helper()
	resp, text := a.send(token, method, path, body)
	if resp.StatusCode != want {
		a.t.Fatalf("%s %s: %d, want %d: %s", method, path, resp.StatusCode, want, text)
	}
	var m map[string]any
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&m); err != nil {
		a.t.Fatalf("%s %s: %v in %q", method, path, err, text)
	}
	return m
}

// reason is the machine-readable reason of an error answer.
func reason(t *testing.T, m map[string]any) string {
	t.Helper()
	for _, d := range m["details"].([]any) {
		if d := d.(map[string]any); d["@type"] == "type.googleapis.com/google.rpc.ErrorInfo" && d["domain"] == "berth" {
			return d["reason"].(string)
		}
	}
	t.Fatalf("no ErrorInfo in %v", m)
	return ""
}

// account makes a service account of the tenant with a key and returns the
// secret.
func (a *api) account(tenantID, id, role string) string {
	a.t.Helper()
	a.call(200, "POST", "/v1/tenants/"+tenantID+"/serviceAccounts?service_account_id="+id, `{"role": "`+role+`"}`)
	return a.call(200, "POST", "/v1/tenants/"+tenantID+"/serviceAccounts/"+id+"/keys", "{}")["secret"].(string)
}

// push puts an empty index with tags into a registry, the least that makes a
// repository.
func (a *api) push(tenantID, registryID, name string, tags ...string) {
	a.t.Helper()
	a.pushContent(tenantID, registryID, name, ocitest.Index(), tags...)
}

// pushContent puts a manifest that holds nothing into a registry.
func (a *api) pushContent(tenantID, registryID, name string, m ocitest.Content, tags ...string) meta.Repo {
	a.t.Helper()
	t, err := a.store.FindTenant(a.t.Context(), tenantID)
	if err != nil {
		a.t.Fatal(err)
	}
	r, err := a.store.FindRegistry(a.t.Context(), t.ID, registryID)
	if err != nil {
		a.t.Fatal(err)
	}
	parsed, err := oci.ParseManifest("", m.Bytes)
	if err != nil {
		a.t.Fatal(err)
	}
	put := meta.ManifestPut{
		Repo:     meta.Repo{Tenant: t.ID, Registry: r.ID, Name: name},
		Manifest: meta.Manifest{Digest: m.Digest, MediaType: m.MediaType, Payload: m.Bytes},
		Parsed:   parsed,
		Tags:     tags,
		By:       meta.Cause{Op: uuid.New(), Actor: "serviceAccounts/ci", RequestID: "push"},
	}
	if err := a.store.PutManifest(a.t.Context(), put); err != nil {
		a.t.Fatal(err)
	}
	return put.Repo
}

// delete deletes a manifest.
func (a *api) delete(r meta.Repo, d oci.Digest) {
	a.t.Helper()
	if err := a.store.DeleteManifest(a.t.Context(), meta.ManifestDelete{Repo: r, Digest: d, By: meta.Cause{Op: uuid.New(), Actor: "serviceAccounts/ci"}}); err != nil {
		a.t.Fatal(err)
	}
}

// index is one of nothing.
func (a *api) index() (meta.Manifest, *oci.Manifest) {
	a.t.Helper()
	m := ocitest.Index()
	parsed, err := oci.ParseManifest("", m.Bytes)
	if err != nil {
		a.t.Fatal(err)
	}
	return meta.Manifest{Digest: m.Digest, MediaType: m.MediaType, Payload: m.Bytes}, parsed
}

// upstream finds an upstream as it is kept.
func (a *api) upstream(tenantID, upstreamID string) meta.Upstream {
	a.t.Helper()
	t, err := a.store.FindTenant(a.t.Context(), tenantID)
	if err != nil {
		a.t.Fatal(err)
	}
	u, err := a.store.FindUpstream(a.t.Context(), t.ID, upstreamID)
	if err != nil {
		a.t.Fatal(err)
	}
	return u
}

// cache puts an empty index into what is kept of an upstream.
func (a *api) cache(tenantID, upstreamID, name, tag string) meta.Repo {
	a.t.Helper()
	u := a.upstream(tenantID, upstreamID)
	r := meta.Repo{Tenant: u.Tenant, Registry: u.Cache, Name: name}
	m, parsed := a.index()
	if err := a.store.PutCached(a.t.Context(), meta.CachedPut{Repo: r, Manifest: m, Parsed: parsed, Tag: tag, Keep: time.Hour}); err != nil {
		a.t.Fatal(err)
	}
	return r
}
