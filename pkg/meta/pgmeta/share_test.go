package pgmeta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/tools/testserver"
)

// secondTenant is a repository of another tenant, with one tagged image.
func secondTenant(t *testing.T, s *Store) meta.Repo {
	t.Helper()
	made, err := s.CreateTenant(t.Context(), meta.Cause{Op: uuid.New()}, meta.Tenant{Slug: "other"}, tenant.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	main, err := s.FindRegistry(t.Context(), made.ID, tenant.MainRegistry)
	if err != nil {
		t.Fatal(err)
	}
	r := meta.Repo{Tenant: made.ID, Registry: main.ID, Name: "app"}
	pushBlob(t, s, r, "config")
	putImage(t, s, r, "config", "v1")
	return r
}

// TestR25_OneTenantLeavesTheOthersTheirShare: 200 pushes of one tenant wait for
// a row, each with a connection as long as it may, and another tenant pulls and
// pushes meanwhile as if they were not there.
func TestR25_OneTenantLeavesTheOthersTheirShare(t *testing.T) {
	s, r := filled(t, Options{MaxConns: 16})
	other := secondTenant(t, s)
	put := imagePut(r, "config", "v1")
	holder := otherSession{connect(t, s.opts.URL)}
	holder.exec(t, `SET idle_in_transaction_session_timeout = 0`)
	holder.exec(t, `BEGIN`)
	holder.exec(t, `SELECT 1 FROM tags WHERE tenant_id = $1 FOR UPDATE`, r.Tenant)
	var slow sync.WaitGroup
	for range 200 {
		slow.Go(func() {
			again := put
			again.By.Op = uuid.New()
			if err := s.PutManifest(context.Background(), again); err != nil && fault.KindOf(err) != fault.Unavailable {
				t.Errorf("a push that waited: %v", err)
			}
		})
	}
	holder.waitBlocked(t, 8)
	var took []time.Duration
	for i := range 3000 {
		began := time.Now()
		_, err := s.FindManifest(t.Context(), other, oci.Reference{Tag: "v1"})
		took = append(took, time.Since(began))
		if err != nil {
			t.Errorf("a pull of another tenant: %v", err)
		}
		if i%100 == 0 {
			if err := tryPushImage(s, other, fmt.Sprintf("image %d", i)); err != nil {
				t.Errorf("a push of another tenant: %v", err)
			}
		}
	}
	holder.waitBlocked(t, 8)
	holder.exec(t, `COMMIT`)
	slow.Wait()
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	t.Logf("pulls of another tenant: median %s, 99 %% within %s", took[len(took)/2], p99)
	if p99 > 250*time.Millisecond {
		t.Errorf("99 %% of the pulls of another tenant took up to %s", p99)
	}
}

// hold takes as many connections as each of the owners may have, and returns what
// gives them back.
func hold(t *testing.T, s *Store, owners ...tenant.ID) func() {
	t.Helper()
	var all []conn
	for _, owner := range owners {
		for s.connGate.TryAcquire(owner, 1) {
			s.connGate.Release(owner, 1)
			c, err := s.acquire(t.Context(), owner, false)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
	}
	return func() {
		for _, c := range all {
			c.release()
		}
	}
}

// waiters starts reads that wait for a connection.
func waiters(t *testing.T, s *Store, r meta.Repo, n int) <-chan error {
	t.Helper()
	ended := make(chan error, n)
	for range n {
		go func() {
			_, err := s.FindManifest(context.Background(), r, oci.Reference{Tag: "v1"})
			ended <- err
		}()
	}
	await.True(t, 30*time.Second, "all wait", func() bool { return s.Waiting() >= n })
	return ended
}

// While the server answers, calls wait for a connection longer than for a server
// that is down, and the store is ready.
func TestS56_CallsWaitWhileAllConnectionsAreInUse(t *testing.T) {
	t.Parallel()
	const conns, calls = 2, 100
	s, r := filled(t, Options{MaxConns: conns})
	release := hold(t, s, noTenant, r.Tenant)
	ended := waiters(t, s, r, calls)
	<-time.After(connectTime + 200*time.Millisecond)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if n := s.Waiting(); n != calls {
		t.Errorf("%d of %d wait", n, calls)
	}
	release()
	for range calls {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestS56_RefusedAsBusyAndCounted(t *testing.T) {
	s, r := filled(t, Options{MaxConns: 1})
	defer hold(t, s, noTenant, r.Tenant)()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := s.FindManifest(ctx, r, oci.Reference{Tag: "v1"})
	var refused *fault.Error
	if !errors.As(err, &refused) || refused.Kind != fault.Unavailable || refused.Reason != fault.Busy || refused.RetryAfter != busyRetry {
		t.Errorf("%#v", err)
	}
	if n := s.connGate.Stats().Refused; n != 1 {
		t.Errorf("%d refusals were counted", n)
	}
}

// A server that is gone is told of at once to all waiting callers.
func TestS56_AnOutageEndsTheWaits(t *testing.T) {
	t.Parallel()
	const conns, calls = 4, 200
	server := testserver.StartPostgres(t)
	s, r := onServer(t, server, Options{MaxConns: conns})
	release := hold(t, s, noTenant, r.Tenant)
	ended := waiters(t, s, r, calls)
	server.Kill()
	release()
	began := time.Now()
	for range calls {
		if err := <-ended; !fault.Is(err, fault.UnavailableReason) {
			t.Errorf("a call that waited: %v", err)
		}
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("they were told after %s", took)
	}
	if err := s.Ping(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("ready: %v", err)
	}
	server.Start()
	if _, err := s.FindManifest(t.Context(), r, oci.Reference{Tag: "v1"}); err != nil {
		t.Errorf("when it is over: %v", err)
	}
}

// A server that cannot start connections in time, but answers on those that it
// has, is waited for: with pre_auth_delay none comes before connectTime is over.
func TestS56_SlowConnectionsAreNoOutage(t *testing.T) {
	t.Parallel()
	server := testserver.StartPostgres(t)
	s, r := onServer(t, server, Options{MaxConns: 4})
	for s.pool.Stat().TotalConns() > 1 {
		one, err := s.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = one.Conn().Close(t.Context())
		one.Release()
	}
	server.Exec(`ALTER SYSTEM SET pre_auth_delay = 3`)
	server.Exec(`SELECT pg_reload_conf()`)
	await.True(t, 30*time.Second, "new connections are slow", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
		if err == nil {
			_ = c.Close(ctx)
		}
		return err != nil
	})
	var calls sync.WaitGroup
	for range 12 {
		calls.Go(func() {
			_, err := s.find(context.Background(), r.Tenant, `SELECT 1 FROM pg_sleep(0.25)`, nil, new(int))
			if err != nil {
				t.Errorf("a call while another one was answered: %v", err)
			}
		})
	}
	calls.Wait()
}

// A server that has no room for all connections of the store is worked with by
// those that it has room for.
func TestS57_AServerWithoutRoomIsWaitedFor(t *testing.T) {
	t.Parallel()
	server := testserver.StartPostgres(t)
	s, r := onServer(t, server, Options{MaxConns: 16})
	server.Exec(`ALTER ROLE node CONNECTION LIMIT 2`)
	var pushes sync.WaitGroup
	for i := range 60 {
		pushes.Go(func() {
			if err := tryPushImage(s, r, fmt.Sprintf("image %d", i)); err != nil {
				t.Errorf("push %d: %v", i, err)
			}
		})
	}
	pushes.Wait()
}

// Two tenants that take what they may leave the others a share.
func TestS52_OthersFindAConnection(t *testing.T) {
	s, r := filled(t, Options{MaxConns: 16})
	other := secondTenant(t, s)
	defer hold(t, s, 101, 102)()
	for _, r := range []meta.Repo{r, other} {
		if err := tryPushImage(s, r, "beside"); err != nil {
			t.Error(err)
		}
	}
	if n := s.connGate.Stats().Waits; n != 0 {
		t.Errorf("they waited %d times", n)
	}
}
