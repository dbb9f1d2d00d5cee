package front

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

const large, small tenant.ID = 1, 2

// ask begins a request that goes on; the error comes once that is decided.
func ask(t *testing.T, turns *Turns, by tenant.ID) (*turn, <-chan error) {
	begun, decided := new(turn), make(chan error, 1)
	go func() {
		var err error
		*begun, err = turns.begin(t.Context(), by)
		decided <- err
	}()
	return begun, decided
}

func TestS97_ATenantLeavesATurnToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(4)
		for range 100 {
			if begun, err := turns.begin(t.Context(), large); err != nil || begun.timer != nil {
				t.Fatalf("a tenant that is alone waits for a turn, or uses one up: %v", err)
			}
		}
		first, err := turns.begin(t.Context(), small)
		if err != nil {
			t.Fatal(err)
		}
		first.end()
		var held []*turn
		for range 10 {
			begun, _ := ask(t, turns, large)
			held = append(held, begun)
		}
		synctest.Wait()
		if n := turns.Waiting(); n != 7 {
			t.Errorf("%d of 10 requests wait, want all but 3", n)
		}
		_, decided := ask(t, turns, small)
		synctest.Wait()
		select {
		case err := <-decided:
			if err != nil {
				t.Errorf("the other tenant: %v", err)
			}
		default:
			t.Error("the other tenant waits")
		}
		<-time.After(turnTime) // the first three, and the other's, may take longer: they wait for something else
		synctest.Wait()
		if n := turns.Waiting(); n != 4 {
			t.Errorf("%d wait after the time of a turn, want 4", n)
		}
		for range 2 {
			<-time.After(turnTime)
			synctest.Wait()
		}
		for _, begun := range held {
			begun.end() // once more: its time is over
		}
		<-time.After(aloneAfter + 1)
		if begun, err := turns.begin(t.Context(), large); err != nil || begun.timer != nil || turns.Waiting() != 0 {
			t.Errorf("a tenant that is alone again: %v, %d wait", err, turns.Waiting())
		}
	})
}

func TestS97_WhatWaitsTooLongForItsTurnIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(2)
		for _, by := range []tenant.ID{large, small, large} {
			begun, err := turns.begin(t.Context(), by)
			if err != nil {
				t.Fatal(err)
			}
			if begun.timer != nil {
				begun.timer.Stop() // it keeps its turn for good
			}
		}
		_, decided := ask(t, turns, large)
		if err := <-decided; fault.KindOf(err) != fault.TooMany {
			t.Errorf("%v, want that there are too many", err)
		}
	})
}
