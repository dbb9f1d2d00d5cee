package fetch

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/berth-registry/berth/pkg/tenant"
)

// The next free slot goes to whoever has least, in the order of coming, and none
// is lost with those who stop waiting.
func TestSlots_Fair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(4) // 3 of a tenant
		var got []tenant.ID
		var release []func()
		ask := func(ctx context.Context, of tenant.ID) {
			go func() {
				if r, err := s.acquire(ctx, of); err == nil {
					got, release = append(got, of), append(release, r)
				}
			}()
			synctest.Wait()
		}
		expect := func(want ...tenant.ID) {
			t.Helper()
			synctest.Wait()
			if !slices.Equal(got, want) {
				t.Fatalf("slots went to %v, want %v", got, want)
			}
		}
		for range 5 {
			ask(t.Context(), 1)
		}
		expect(1, 1, 1)
		ask(t.Context(), 2)
		ask(t.Context(), 3)
		ask(t.Context(), 2)
		expect(1, 1, 1, 2)
		ctx, leave := context.WithCancel(t.Context())
		ask(ctx, 4)
		leave()
		release[0]()
		expect(1, 1, 1, 2, 3) // has none
		release[1]()
		expect(1, 1, 1, 2, 3, 1) // has one, as 2 has, and came first
		release[2]()
		expect(1, 1, 1, 2, 3, 1, 1)
		release[3]()
		expect(1, 1, 1, 2, 3, 1, 1, 2)
		for _, r := range release[4:] {
			r()
		}
		if s.free != 4 || len(s.held) != 0 || len(s.waiting) != 0 {
			t.Errorf("%d free, held %v, %d waiting", s.free, s.held, len(s.waiting))
		}
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(errClosing)
		for range 4 {
			ask(t.Context(), tenant.ID(10+len(got)))
		}
		if _, err := s.acquire(ended, 99); !errors.Is(err, errClosing) {
			t.Errorf("acquire after the end: %v", err)
		}
	})
}

// Fetches may take for ever: who has none gets a few, however many others have.
func TestC15_SlotsForEveryTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(32)
		got := map[tenant.ID]int{}
		var release []func()
		ask := func(of tenant.ID, times int) {
			for range times {
				go func() {
					if r, err := s.acquire(t.Context(), of); err == nil {
						got[of]++
						release = append(release, r)
					}
				}()
				synctest.Wait()
			}
		}
		ask(1, 30)
		ask(2, 30)
		ask(3, 5)
		ask(4, 1)
		if want := map[tenant.ID]int{1: 24, 2: 8, 3: 2, 4: 1}; !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		for len(release) > 0 { // others get what is given back
			r := release[0]
			release = release[1:]
			r()
			synctest.Wait()
			if held := s.held[1] + s.held[2]; held > 32 {
				t.Errorf("%d slots are held", held)
			}
		}
		if s.free != 32 || len(s.held) != 0 || got[1]+got[2]+got[3]+got[4] != 66 {
			t.Errorf("%d free, held %v, %v", s.free, s.held, got)
		}
	})
}
