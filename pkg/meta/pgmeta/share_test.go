package pgmeta

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/tools/dice"
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

// TestSharesAreFair plays with chance: never more than there are, never more
// than a tenant may have, and nobody is forgotten.
func TestSharesAreFair(t *testing.T) {
	const connections, tenants = 6, 5
	seed := dice.Seed(t)
	s := newShares(connections)
	var inUse, done atomic.Int64
	var of [tenants]atomic.Int64
	var all sync.WaitGroup
	count := dice.Count(t, 2000, 200_000)
	for worker := range 40 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(worker)))
			for range count / 40 {
				id := tenant.ID(r.IntN(tenants))
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.Int64N(int64(2*time.Millisecond))))
				if err := s.take(ctx, id); err == nil {
					if n := inUse.Add(1); n > connections {
						t.Errorf("%d of %d connections are in use", n, connections)
					}
					if n := of[id].Add(1); id != nobody && n > connections/2 {
						t.Errorf("tenant %d has %d connections", id, n)
					}
					done.Add(1)
					for range r.IntN(20) {
						runtime.Gosched()
					}
					of[id].Add(-1)
					inUse.Add(-1)
					s.give(id)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if s.free != connections || len(s.held) != 0 || len(s.waiting) != 0 {
		t.Errorf("in the end: %d free, held %v, waiting %v", s.free, s.held, s.waiting)
	}
	t.Logf("%d granted; %+v", done.Load(), s.read())
}

// TestSharesGoToWhoHasFewest: when all are in use, the one that comes free goes
// to the tenant with the fewest, not to the one that asked first.
func TestSharesGoToWhoHasFewest(t *testing.T) {
	s := newShares(4)
	for _, id := range []tenant.ID{1, 1, 2, 2} {
		if err := s.take(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	order := make(chan tenant.ID, 3)
	for i, id := range []tenant.ID{1, 2, 3} {
		go func() {
			if err := s.take(context.Background(), id); err == nil {
				order <- id
			}
		}()
		for waits := int64(0); waits <= int64(i); waits = s.read().waits {
		}
	}
	s.give(1)
	if id := <-order; id != 3 {
		t.Errorf("a tenant that has some came before one that has none: %d", id)
	}
	s.give(2)
	if id := <-order; id != 1 && id != 2 {
		t.Errorf("then %d", id)
	}
}

func BenchmarkShares(b *testing.B) {
	s := newShares(16)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.take(b.Context(), 1); err != nil {
			b.Fatal(err)
		}
		s.give(1)
	}
}
