package front

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

const large, small tenant.ID = 1, 2

// ask begins a request that continues; the error comes once that is decided.
func ask(t *testing.T, turns *Turns, by tenant.ID) <-chan error {
	t.Helper()
	decided := make(chan error, 1)
	go func() {
		_, err := turns.begin(t.Context(), by)
		decided <- err
	}()
	return decided
}

func TestS97_ATenantLeavesATurnToOthers(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		turns := NewTurns(4)
		for range 100 {
			if begun, err := turns.begin(t.Context(), large); err != nil || begun != nil {
				t.Fatalf("a tenant that is alone waits for a turn, or uses one up: %v", err)
			}
		}
		first, err := turns.begin(t.Context(), small)
		if err != nil {
			t.Fatal(err)
		}
		first.end()
		for range 10 {
			ask(t, turns, large)
		}
		synctest.Wait()
		if n := turns.Waiting(); n != 7 {
			t.Errorf("%d of 10 requests wait, want all but 3", n)
		}
		decided := ask(t, turns, small)
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
		<-time.After(onlyTenantAfter + 1)
		if begun, err := turns.begin(t.Context(), large); err != nil || begun != nil || turns.Waiting() != 0 {
			t.Errorf("a tenant that is alone again: %v, %d wait", err, turns.Waiting())
		}
	})
}

func TestS97_WhatWaitsTooLongForItsTurnIsRefused(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		turns := NewTurns(2)
		for _, by := range []tenant.ID{large, small, large} {
			begun, err := turns.begin(t.Context(), by)
			if err != nil {
				t.Fatal(err)
			}
			if begun != nil {
				begun.timer.Stop() // it keeps its turn for good
			}
		}
		if err := <-ask(t, turns, large); fault.KindOf(err) != fault.TooMany {
			t.Errorf("%v, want that there are too many", err)
		}
	})
}

// slow is a body that comes when the test says so.
type slow struct{ come chan struct{} }

func (s slow) Read([]byte) (int, error) { <-s.come; return 0, io.EOF }
func (slow) Close() error               { return nil }

func TestS97_ABodyThatComesUsesUpNoTurn(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		turns := NewTurns(2)
		for _, by := range []tenant.ID{large, small} {
			begun, err := turns.begin(t.Context(), by)
			if err != nil {
				t.Fatal(err)
			}
			begun.end()
		}
		body := slow{make(chan struct{})}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/", body)
		begun, err := turns.begin(t.Context(), large)
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan error)
		go func() { _, err := io.Copy(io.Discard, begun.body(r)); read <- err }()
		synctest.Wait()
		if used := turns.gate.Used(); used != 0 {
			t.Errorf("%d turns are used while the body comes", used)
		}
		close(body.come)
		if err := <-read; err != nil {
			t.Error(err)
		}
		if used := turns.gate.Used(); used != 1 {
			t.Errorf("%d turns are used after the body came, want 1", used)
		}
		begun.end()
		if used := turns.gate.Used(); used != 0 {
			t.Errorf("%d turns are used at the end", used)
		}
	})
}
