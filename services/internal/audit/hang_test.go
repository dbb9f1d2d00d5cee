package audit

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/lease"
)

// TestU114_AWriteThatHangsEnds: it returns in time, and nothing is written beside it.
func TestU114_AWriteThatHangsEnds(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		out, in := io.Pipe()
		sink := newBounded(&stream{to: in})
		hangs := func(ctx context.Context, line string, want time.Duration) {
			t.Helper()
			begun := time.Now()
			if err := sink.Write(ctx, []byte(line)); !errors.Is(err, errHangs) || time.Since(begun) != want {
				t.Errorf("%s: %v after %s, want %s", line, err, time.Since(begun), want)
			}
		}
		hangs(t.Context(), "1\n", writeTimeout)
		hangs(t.Context(), "2\n", turnTimeout)
		lines := bufio.NewReader(out)
		next := func(want string) {
			t.Helper()
			if got, err := lines.ReadString('\n'); got != want || err != nil {
				t.Errorf("%q comes, %v, want %q", got, err, want)
			}
			synctest.Wait()
		}
		next("1\n") // the first write ends
		stopped, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		hangs(stopped, "3\n", 3*time.Second)
		next("3\n")
		go func() {
			if err := sink.Write(t.Context(), []byte("4\n")); err != nil {
				t.Error(err)
			}
		}()
		next("4\n")
		_ = in.Close()
	})
}

// TestU114_AnotherProcessSends when the sink of the one that has the lease does not work.
func TestU114_AnotherProcessSends(t *testing.T) {
	leases := lease.NewMemory()
	broken := newDelivery(t, &receiver{refuse: 1 << 30}, leases)
	broken.record(t)
	works := NewDeliverer(broken.store, broken.sink, leases, broken.log)
	works.now = broken.clock.now
	hook := &picky{refuses: func([]byte) bool { return false }, status: http.StatusOK}
	works.sink = newDelivery(t, hook, leases).sink
	if _, err := broken.send(t.Context()); err == nil {
		t.Fatal("the broken sink took an event")
	}
	if _, err := works.send(t.Context()); err != nil || len(hook.kept) != 1 {
		t.Errorf("%d events came by another process, %v", len(hook.kept), err)
	}
}
