package admin

import (
	"context"
	"encoding/base64"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// countingStore counts the calls that a PATCH makes.
type countingStore struct {
	testStore
	calls atomic.Int64
}

func (s *countingStore) FindAccountByKey(ctx context.Context, t tenant.ID, slug string, hash [32]byte) (meta.Login, error) {
	s.calls.Add(1)
	return s.testStore.FindAccountByKey(ctx, t, slug, hash)
}

func (s *countingStore) FindTenant(ctx context.Context, slug string) (meta.Tenant, error) {
	s.calls.Add(1)
	return s.testStore.FindTenant(ctx, slug)
}

func (s *countingStore) FindRegistry(ctx context.Context, t tenant.ID, slug string) (meta.Registry, error) {
	s.calls.Add(1)
	return s.testStore.FindRegistry(ctx, t, slug)
}

func (s *countingStore) ListDomains(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Domain, error) {
	s.calls.Add(1)
	return s.testStore.ListDomains(ctx, t, p)
}

func (s *countingStore) FindTopology(ctx context.Context, t tenant.ID) (meta.Topology, error) {
	s.calls.Add(1)
	return s.testStore.FindTopology(ctx, t)
}

func (s *countingStore) UpdateRegistry(ctx context.Context, by meta.Cause, r meta.Registry) (meta.Registry, error) {
	s.calls.Add(1)
	return s.testStore.UpdateRegistry(ctx, by, r)
}

// A tenant's admin changes a setting of a registry that has a group: the call
// authenticates once and finds its tenant once.
func TestAPatchMakesFewStoreCalls(t *testing.T) {
	const most = 5
	var store *countingStore
	a := newAPI(t, func(c *Config, _ *Options) {
		store = &countingStore{testStore: c.Store.(testStore)}
		c.Store = store
	})
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", "{}")
	a.call(200, "POST", "/v1/tenants/acme/upstreamGroups?upstream_group_id=chain", `{"members": [{"registry": "main"}]}`)
	a.call(200, "PATCH", "/v1/tenants/acme/registries/dev", `{"upstream_group": "chain"}`)
	admin := a.account("acme", "admin", "ADMIN")

	before := store.calls.Load()
	m := a.callAs(admin, 200, "PATCH", "/v1/tenants/acme/registries/dev", `{"read_only": true}`)
	if n := store.calls.Load() - before; n < 1 || n > most {
		t.Errorf("%d store calls, want at most %d", n, most)
	}
	if m["read_only"] != true || m["upstream_group"] != "chain" {
		t.Errorf("answer %v", m)
	}
}

// Only the REST side says who makes a call; a header that looks like its own says
// nothing.
func TestC7_AClientCannotSayWhoItIs(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	writer := a.account("acme", "writer", "WRITER")
	forged := caller{operator: true}.onWire()
	for _, name := range []string{headerCaller, "Grpc-Metadata-" + headerCaller} {
		resp, text := a.send(writer, "GET", "/v1/tenants", "", name+": "+forged, name+": "+base64.StdEncoding.EncodeToString([]byte(forged)))
		if resp.StatusCode != 403 {
			t.Errorf("%s over REST: %d: %s", name, resp.StatusCode, text)
		}
	}
	conn, err := grpc.NewClient(a.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := metadata.AppendToOutgoingContext(t.Context(), headerCaller, forged)
	if _, err := pb.NewAdminServiceClient(conn).ListTenants(ctx, &pb.ListTenantsRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("over gRPC: %v", err)
	}
}
