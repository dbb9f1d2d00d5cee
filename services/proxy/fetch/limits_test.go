package fetch

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// asker begins acquiring slots, and keeps what came.
type asker struct {
	slots   *fairgate.Gate[tenant.ID]
	got     []tenant.ID
	release []func()
}

func (a *asker) ask(ctx context.Context, of tenant.ID, times int) {
	for range times {
		go func() {
			if a.slots.Acquire(ctx, of, 1) == nil {
				a.got = append(a.got, of)
				a.release = append(a.release, func() { a.slots.Release(of, 1) })
			}
		}()
		synctest.Wait()
	}
}

// The next free slot goes to the tenant that has least, in the order of coming, and none
// is lost with those who stop waiting.
func TestSlots_Fair(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		a := &asker{slots: newSlots(4)} // 3 of a tenant
		expect := func(want ...tenant.ID) {
			t.Helper()
			synctest.Wait()
			if !slices.Equal(a.got, want) {
				t.Fatalf("slots went to %v, want %v", a.got, want)
			}
		}
		a.ask(t.Context(), 1, 5)
		expect(1, 1, 1)
		a.ask(t.Context(), 2, 1)
		a.ask(t.Context(), 3, 1)
		a.ask(t.Context(), 2, 1)
		expect(1, 1, 1, 2)
		ctx, leave := context.WithCancel(t.Context())
		a.ask(ctx, 4, 1)
		leave()
		a.release[0]()
		expect(1, 1, 1, 2, 3) // has none
		a.release[1]()
		expect(1, 1, 1, 2, 3, 1) // has one, as 2 has, and came first
		a.release[2]()
		expect(1, 1, 1, 2, 3, 1, 1)
		a.release[3]()
		expect(1, 1, 1, 2, 3, 1, 1, 2)
		for _, r := range a.release[4:] {
			r()
		}
		if s := a.slots.Stats(); a.slots.Used() != 0 || s.Waiting != 0 {
			t.Errorf("%d are held, %+v", a.slots.Used(), s)
		}
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(errClosing)
		for i := range 4 {
			a.ask(t.Context(), tenant.ID(10+i), 1)
		}
		if err := a.slots.Acquire(ended, 99, 1); !errors.Is(err, errClosing) {
			t.Errorf("acquire after the end: %v", err)
		}
	})
}

// Fetches may take for ever: who has none gets a few, however many others have.
func TestC15_SlotsForEveryTenant(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		a := &asker{slots: newSlots(32)}
		a.ask(t.Context(), 1, 30)
		a.ask(t.Context(), 2, 30)
		a.ask(t.Context(), 3, 5)
		a.ask(t.Context(), 4, 1)
		got := map[tenant.ID]int{}
		for _, id := range a.got {
			got[id]++
		}
		if want := map[tenant.ID]int{1: 24, 2: 8, 3: 2, 4: 1}; !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		for i := 0; i < len(a.release); i++ { // others get what is given back
			a.release[i]()
			synctest.Wait()
		}
		if len(a.got) != 66 || a.slots.Used() != 0 {
			t.Errorf("%d got a slot, %d are held", len(a.got), a.slots.Used())
		}
	})
}

// Shares of many tenants have an end, and so have the flights of one that wait.
func TestS54_FlightsAreBounded(t *testing.T) {
	f := New(Config{Flights: 32})
	taken := 0
	for id := tenant.ID(1); id <= 100; id++ {
		for f.slots.TryAcquire(id, 1) {
			taken++
		}
	}
	if taken != 64 {
		t.Errorf("%d flights at a time", taken)
	}
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, maxWaiting)
	for range maxWaiting {
		go func() { left <- f.acquireSlot(ctx, 1) }()
	}
	await.True(t, 30*time.Second, "all wait", func() bool { return f.Slots().Waiting >= maxWaiting || len(left) > 0 })
	if len(left) > 0 {
		t.Fatal(<-left)
	}
	var refused *fault.Error
	if err := f.acquireSlot(t.Context(), 1); !errors.As(err, &refused) || refused.Reason != fault.Busy || refused.RetryAfter == 0 {
		t.Errorf("one more: %v", err)
	}
	leave()
	for range maxWaiting {
		<-left
	}
	if n := f.Slots().Refused; n != maxWaiting+1 {
		t.Errorf("%d refusals were counted", n)
	}
}
