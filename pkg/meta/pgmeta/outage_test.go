package pgmeta

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/tools/testserver"
)

// kinds are calls of every kind, none of which changes what another one finds.
// They may be called from many goroutines.
func kinds(t *testing.T, s *Store, r meta.Repo) map[string]func(context.Context) error {
	t.Helper()
	open, err := s.CreateUpload(t.Context(), r, oci.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	config := digestOf("config")
	cached := cachedImage(t, s, r)
	cause := func() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "operator"} }
	name := func() string { return "n" + strings.ReplaceAll(uuid.NewString(), "-", "")[:20] }
	none := func(_ any, err error) error { return err }
	absent := func(err error, want fault.Reason) error { // of something that does not exist
		if fault.Is(err, want) {
			return nil
		}
		return err
	}
	return map[string]func(context.Context) error{
		"Ping": s.Ping,
		"FindSite": func(ctx context.Context) error {
			return none(s.FindSite(ctx, tenant.Lookup{TenantSlug: "acme", Registry: "main"}))
		},
		"FindTenant":  func(ctx context.Context) error { return none(s.FindTenant(ctx, "acme")) },
		"ListTenants": func(ctx context.Context) error { return none(s.ListTenants(ctx, meta.Page{Size: 1})) },
		"CreateTenant": func(ctx context.Context) error {
			return none(s.CreateTenant(ctx, cause(), meta.Tenant{Slug: name()}, tenant.Settings{}))
		},
		"UpdateTenant": func(ctx context.Context) error {
			return none(s.UpdateTenant(ctx, cause(), meta.Tenant{Slug: "acme", State: tenant.Active}))
		},
		"FindRegistry": func(ctx context.Context) error { return none(s.FindRegistry(ctx, r.Tenant, tenant.MainRegistry)) },
		"CreateRegistry": func(ctx context.Context) error {
			return none(s.CreateRegistry(ctx, cause(), meta.Registry{Tenant: r.Tenant, Slug: name()}))
		},
		"ListDomains": func(ctx context.Context) error { return none(s.ListDomains(ctx, r.Tenant, meta.Page{Size: 1})) },
		"FindAccountByKey": func(ctx context.Context) error {
			return absent(none(s.FindAccountByKey(ctx, r.Tenant, "ci", [32]byte{})), fault.ResourceUnknown)
		},
		"CreateAccount": func(ctx context.Context) error {
			return none(s.CreateAccount(ctx, cause(), meta.Account{Tenant: r.Tenant, Kind: access.ServiceKind, Slug: name(), Role: access.Reader}))
		},
		"CreateUpstream": func(ctx context.Context) error {
			return none(s.CreateUpstream(ctx, cause(), meta.Upstream{Tenant: r.Tenant, Slug: name()}))
		},
		"CreateGroup": func(ctx context.Context) error {
			return none(s.CreateGroup(ctx, cause(), meta.Group{Tenant: r.Tenant, Slug: name()}))
		},
		"FindTopology":  func(ctx context.Context) error { return none(s.FindTopology(ctx, r.Tenant)) },
		"FindCachedTag": func(ctx context.Context) error { return none(s.FindCachedTag(ctx, cached, "v0")) },
		"PutCached": func(ctx context.Context) error {
			put := imagePut(cached, "config", name())
			return s.PutCached(ctx, meta.CachedPut{Repo: cached, Manifest: put.Manifest, Parsed: put.Parsed, Tag: "v1", Keep: time.Hour})
		},
		"LinkBlob": func(ctx context.Context) error { return none(s.LinkBlob(ctx, cached, config)) },
		"RecordPulls": func(ctx context.Context) error {
			return s.RecordPulls(ctx, []meta.CachedPull{{Repo: cached, Digest: config, Keep: time.Hour}})
		},
		"ExpireCached":    func(ctx context.Context) error { return none(s.ExpireCached(ctx, 1)) },
		"EvictCached":     func(ctx context.Context) error { return none(s.EvictCached(ctx, 1)) },
		"ListSigningKeys": func(ctx context.Context) error { return none(s.ListSigningKeys(ctx)) },
		"ListVerifyKeys":  func(ctx context.Context) error { return none(s.ListVerifyKeys(ctx)) },
		"FindRepository":  func(ctx context.Context) error { return none(s.FindRepository(ctx, r)) },
		"ListRepositories": func(ctx context.Context) error {
			return none(s.ListRepositories(ctx, r.Tenant, r.Registry, meta.Page{Size: 1}))
		},
		"RepositoriesBetween": func(ctx context.Context) error {
			return none(s.RepositoriesBetween(ctx, r.Tenant, r.Registry, meta.Between[string]{Before: meta.LastName, Size: 1}))
		},
		"TagsBetween": func(ctx context.Context) error {
			return none(s.TagsBetween(ctx, r, meta.Between[string]{Before: meta.LastName, Size: 1}))
		},
		"EventsBetween": func(ctx context.Context) error {
			return none(s.EventsBetween(ctx, r.Tenant, meta.Between[int64]{Before: 1 << 62, Size: 1}))
		},
		"FindBlob":    func(ctx context.Context) error { return none(s.FindBlob(ctx, r, config)) },
		"CheckBlob":   func(ctx context.Context) error { return none(s.CheckBlob(ctx, r, config)) },
		"FindSources": func(ctx context.Context) error { return none(s.FindSources(ctx, r.Tenant, config, 1)) },
		"MountBlob":   func(ctx context.Context) error { return none(s.MountBlob(ctx, cause(), r, r, config)) },
		"DeleteBlob": func(ctx context.Context) error {
			return absent(s.DeleteBlob(ctx, cause(), r, digestOf("nothing")), fault.BlobUnknown)
		},
		"MarkSuspect":  func(ctx context.Context) error { return s.MarkSuspect(ctx, blob0(r)) },
		"CreateUpload": func(ctx context.Context) error { return none(s.CreateUpload(ctx, r, oci.SHA256)) },
		"FindUpload":   func(ctx context.Context) error { return none(s.FindUpload(ctx, r, open.ID)) },
		"AdvanceUpload": func(ctx context.Context) error {
			return none(s.AdvanceUpload(ctx, open, blob.Progress{Offset: 0}))
		},
		"TakeUpload": func(ctx context.Context) error {
			return absent(none(s.TakeUpload(ctx, r, uuid.New(), 0)), fault.BlobUploadUnknown)
		},
		"SealUpload": func(ctx context.Context) error {
			gone := open
			gone.ID = uuid.New()
			return absent(none(s.SealUpload(ctx, gone, config)), fault.BlobUploadUnknown)
		},
		"push": func(context.Context) error { return tryPushImage(s, r, name()) },
		"CancelUpload": func(ctx context.Context) error {
			return absent(s.CancelUpload(ctx, r, uuid.New()), fault.BlobUploadUnknown)
		},
		"FindManifest by tag": func(ctx context.Context) error { return none(s.FindManifest(ctx, r, oci.Reference{Tag: "v1"})) },
		"PutManifest":         func(ctx context.Context) error { return s.PutManifest(ctx, imagePut(r, "config", name())) },
		"DeleteManifest": func(ctx context.Context) error {
			return absent(s.DeleteManifest(ctx, meta.ManifestDelete{Repo: r, Digest: digestOf("nothing"), By: cause(), Referrers: true}), fault.ManifestUnknown)
		},
		"ListReferrers": func(ctx context.Context) error { return none(s.ListReferrers(ctx, r, config, "", meta.Page{Size: 1})) },
		"ListTags":      func(ctx context.Context) error { return none(s.ListTags(ctx, r, meta.Page{Size: 1})) },
		"DeleteTag": func(ctx context.Context) error {
			return absent(s.DeleteTag(ctx, cause(), r, "nothing"), fault.ManifestUnknown)
		},
		"ListEvents":     func(ctx context.Context) error { return none(s.ListEvents(ctx, r.Tenant, meta.Page{Size: 1})) },
		"ReapUploads":    func(ctx context.Context) error { return none(s.ReapUploads(ctx, 1)) },
		"UnlinkBlobs":    func(ctx context.Context) error { return none(s.UnlinkBlobs(ctx, 1)) },
		"DropBlobs":      func(ctx context.Context) error { return none(s.DropBlobs(ctx, 1)) },
		"ClaimCondemned": func(ctx context.Context) error { return none(s.ClaimCondemned(ctx, 1)) },
		"PurgeDeleted":   func(ctx context.Context) error { return none(s.PurgeDeleted(ctx, 1)) },
		"SweepUnmarked":  func(ctx context.Context) error { return none(s.SweepUnmarked(ctx)) },
		"CheckRows":      func(ctx context.Context) error { return s.CheckRows(ctx, func(meta.Finding) {}) },
		"LocateBlob":     func(ctx context.Context) error { return none(s.LocateBlob(ctx, 1, "")) },
		"ListObjects":    func(ctx context.Context) error { return none(s.ListObjects(ctx, blob.Key{}, 1)) },
	}
}

// blob0 is a blob that is not there.
func blob0(r meta.Repo) meta.Blob {
	b := newBlob(r.Tenant, digestOf("nothing"))
	b.Key.Incarnation = uuid.New()
	return b
}

// onServer is a filled store on a server of the test's own.
func onServer(t *testing.T, server *testserver.PostgresServer, o Options) (*Store, meta.Repo) {
	t.Helper()
	s := emptyOn(t, server, o)
	return s, fill(t, s)
}

// emptyOn is a store on a server of the test's own, as a user that is not a superuser.
func emptyOn(t *testing.T, server *testserver.PostgresServer, o Options) *Store {
	t.Helper()
	server.Exec(`CREATE ROLE node LOGIN`)
	server.Exec(`ALTER DATABASE berth OWNER TO node`)
	o.URL = asNode(server.URL())
	return open(t, o)
}

func asNode(url string) string { return strings.ReplaceAll(url, "postgres@", "node@") }

// TestR18_EveryCallSaysThatTheServerIsDown, however it is down: within two
// seconds, and never that a resource is absent or a user unknown.
func TestR18_EveryCallSaysThatTheServerIsDown(t *testing.T) {
	server := testserver.StartPostgres(t)
	s, r := onServer(t, server, Options{MaxConns: 4})
	calls := kinds(t, s, r)
	hba := func(method string) {
		server.Exec(`COPY (SELECT 'host all node 127.0.0.1/32 ` + method + `' UNION ALL SELECT 'host all postgres 127.0.0.1/32 trust') TO '` + filepath.Join(server.Dir(), "pg_hba.conf") + `'`)
		server.Exec(`SELECT pg_reload_conf()`)
	}
	disconnect := func() {
		server.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'node'`)
	}
	for _, outage := range []struct {
		name       string
		begin, end func()
	}{
		{"killed", server.Kill, server.Start},
		{"stopped", server.StopImmediate, server.Start},
		{"authentication fails", func() { hba("scram-sha-256"); disconnect() }, func() { hba("trust") }},
		{"rejected", func() { hba("reject"); disconnect() }, func() { hba("trust") }},
		{
			"no connections left",
			func() { server.Exec(`ALTER ROLE node CONNECTION LIMIT 0`); disconnect() },
			func() { server.Exec(`ALTER ROLE node CONNECTION LIMIT -1`) },
		},
		{
			"no such database",
			func() {
				server.Exec(`ALTER DATABASE berth ALLOW_CONNECTIONS false`)
				disconnect()
				server.Exec(`ALTER DATABASE berth RENAME TO away`)
			},
			func() {
				server.Exec(`ALTER DATABASE away RENAME TO berth`)
				server.Exec(`ALTER DATABASE berth ALLOW_CONNECTIONS true`)
			},
		},
		{
			"takes no writes",
			func() { server.Exec(`ALTER DATABASE berth SET default_transaction_read_only = on`); disconnect() },
			func() { server.Exec(`ALTER DATABASE berth RESET default_transaction_read_only`) },
		},
	} {
		t.Run(outage.name, func(t *testing.T) {
			outage.begin()
			for name, call := range calls {
				began := time.Now()
				err := call(t.Context())
				if fault.KindOf(err) != fault.Unavailable {
					t.Errorf("%s: %v", name, err)
				}
				if took := time.Since(began); took >= 2*time.Second {
					t.Errorf("%s took %s", name, took)
				}
			}
			outage.end()
			for name, call := range calls {
				if err := call(t.Context()); err != nil {
					t.Errorf("%s, when it is over: %v", name, err)
				}
			}
		})
	}
}

// TestR19_AServerThatHangs: 200 calls at once get their answer within the time
// of a statement and of waiting for a connection, and when the server continues,
// so does the store.
func TestR19_AServerThatHangs(t *testing.T) {
	t.Parallel() // it waits for a server of its own most of the time
	const budget = time.Second
	seed := dice.Seed(t)
	server := testserver.StartPostgres(t)
	s, r := onServer(t, server, Options{Timeout: budget})
	calls := kinds(t, s, r)
	delete(calls, "CheckRows")     // which an operator runs and ends
	delete(calls, "SweepUnmarked") // likewise
	names := slices.Sorted(maps.Keys(calls))
	for round := range dice.Count(t, 2, 20) {
		server.Pause()
		random := rand.New(rand.NewPCG(seed, uint64(round)))
		var all sync.WaitGroup
		for range 200 {
			name := names[random.IntN(len(names))]
			all.Go(func() {
				began := time.Now()
				err := calls[name](context.Background())
				if fault.KindOf(err) != fault.Unavailable {
					t.Errorf("%s: %v", name, err)
				}
				if took := time.Since(began); took > budget+connectTime+2*time.Second {
					t.Errorf("%s took %s", name, took)
				}
			})
		}
		all.Wait()
		server.Resume()
		began := time.Now()
		await.True(t, 5*time.Second, "the store is back", func() bool {
			err := tryPushImage(s, r, fmt.Sprintf("round %d", round))
			if err != nil && fault.KindOf(err) != fault.Unavailable {
				t.Fatal(err)
			}
			return err == nil
		})
		t.Logf("the store is back %s after the server", time.Since(began))
	}
	for name, call := range calls {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s, when it is over: %v", name, err)
		}
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings: %q", found)
	}
}
