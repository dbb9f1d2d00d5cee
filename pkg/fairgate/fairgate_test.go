package fairgate_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fairgate"
)

// Never more than there is, never more than one owner may have, and in the end
// all is free and all waiting callers were served or left.
func TestS50_GateIsFairAndBounded(t *testing.T) {
	const capacity, most, assured, beyond, owners = 12, 6, 2, 4, 5
	g := fairgate.New[int](fairgate.Options{Capacity: capacity, Most: most, Assured: assured, Beyond: beyond})
	seed := dice.Seed(t)
	var used, granted atomic.Int64
	var of [owners]atomic.Int64
	var all sync.WaitGroup
	count := dice.Count(t, 2000, 200_000)
	for worker := range 40 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(worker)))
			for range count / 40 {
				owner, n := r.IntN(owners), 1+r.Int64N(3)
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.Int64N(int64(2*time.Millisecond))))
				if g.Acquire(ctx, owner, n) == nil {
					if sum := used.Add(n); sum > capacity+beyond {
						t.Errorf("%d of %d are held", sum, capacity+beyond)
					}
					if held := of[owner].Add(n); owner != 0 && held > most {
						t.Errorf("owner %d holds %d", owner, held)
					}
					granted.Add(1)
					for range r.IntN(20) {
						runtime.Gosched()
					}
					of[owner].Add(-n)
					used.Add(-n)
					g.Release(owner, n)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if s := g.Stats(); g.Used() != 0 || s.Waiting != 0 {
		t.Errorf("in the end %d are held, %+v", g.Used(), s)
	}
	t.Logf("%d granted; %+v", granted.Load(), g.Stats())
}

// An owner within its assured share is served whatever the others hold, also by
// a gate that is full.
func TestS50_AssuredShare(t *testing.T) {
	g := fairgate.New[int](fairgate.Options{Capacity: 8, Most: 4, Assured: 2, Beyond: 2})
	for _, owner := range []int{1, 2} {
		if !g.TryAcquire(owner, 4) || g.TryAcquire(owner, 1) {
			t.Fatalf("owner %d does not hold its most", owner)
		}
	}
	if !g.TryAcquire(3, 2) {
		t.Error("an owner within its share got nothing")
	}
	if g.TryAcquire(3, 1) || g.TryAcquire(4, 1) {
		t.Error("more is held than there is")
	}
}

// The process's own work has a share like others.
func TestS50_OwnWorkHasAShare(t *testing.T) {
	g := fairgate.New[int](fairgate.Options{Capacity: 4, Assured: 1, Beyond: 2})
	if !g.TryAcquire(1, 4) || !g.TryAcquire(0, 1) || g.TryAcquire(0, 1) {
		t.Error("it has none, or more")
	}
}

// What comes free goes to the owner that holds the least, not to the one that
// asked first.
func TestS50_LeastFirst(t *testing.T) {
	g := fairgate.New[int](fairgate.Options{Capacity: 4})
	for _, owner := range []int{1, 1, 2, 2} {
		g.TryAcquire(owner, 1)
	}
	order := make(chan int, 3)
	for i, owner := range []int{1, 2, 3} {
		go func() {
			if g.Acquire(context.Background(), owner, 1) == nil {
				order <- owner
			}
		}()
		await.True(t, 30*time.Second, "it waits", func() bool { return g.Stats().Waiting > i })
	}
	g.Release(1, 1)
	if owner := <-order; owner != 3 {
		t.Errorf("owner %d, which holds some, came before one that holds nothing", owner)
	}
	g.Expel(errors.New("over"))
}

func TestS50_QueueIsBoundedAndExpelled(t *testing.T) {
	g := fairgate.New[int](fairgate.Options{Capacity: 1, MaxWaiting: 2})
	g.TryAcquire(1, 1)
	failed := errors.New("failed")
	ended := make(chan error, 2)
	for i := range 2 {
		go func() { ended <- g.Acquire(context.Background(), 1, 1) }()
		await.True(t, 30*time.Second, "it waits", func() bool { return g.Stats().Waiting > i })
	}
	if err := g.Acquire(t.Context(), 1, 1); !errors.Is(err, fairgate.ErrQueueFull) {
		t.Errorf("the third who waits: %v", err)
	}
	if err := g.Acquire(t.Context(), 1, 2); !errors.Is(err, fairgate.ErrTooMuch) {
		t.Errorf("more than there is: %v", err)
	}
	g.Expel(failed)
	for range 2 {
		if err := <-ended; !errors.Is(err, failed) {
			t.Errorf("expelled with %v", err)
		}
	}
	g.Release(1, 1)
	if !g.TryAcquire(1, 1) {
		t.Error("nothing is free after the release")
	}
}

func TestS50_UncontendedAllocatesNothing(t *testing.T) {
	g := fairgate.New[int](fairgate.Options{Capacity: 4})
	if n := testing.AllocsPerRun(1000, func() {
		_ = g.Acquire(context.Background(), 1, 1)
		g.Release(1, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
