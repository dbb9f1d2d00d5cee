package limit

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

func newLocal() (*Local, *time.Time) {
	l := NewLocal(10, time.Minute)
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l.now = func() time.Time { return clock }
	return l, &clock
}

func fail(t *testing.T, l *Local, k Key) error {
	t.Helper()
	if err := l.Check(t.Context(), k); err != nil {
		return err
	}
	return l.Add(t.Context(), k)
}

func TestB10_EleventhFailureIsRefused(t *testing.T) {
	l, clock := newLocal()
	k, other := Key{"account", 1, "ci"}, Key{"account", 2, "ci"}
	for i := range 10 {
		if err := fail(t, l, k); err != nil {
			t.Fatalf("failure %d: %v", i+1, err)
		}
	}
	for range 1000 {
		if err := fail(t, l, k); fault.KindOf(err) != fault.TooMany || fault.From(err).RetryAfter != 6*time.Second {
			t.Fatalf("after 10 failures: %v, retry after %v", err, fault.From(err).RetryAfter)
		}
	}
	if err := l.Check(t.Context(), other); err != nil {
		t.Errorf("another tenant's account: %v", err)
	}
	*clock = clock.Add(6 * time.Second)
	if err := fail(t, l, k); err != nil {
		t.Errorf("after Retry-After: %v", err)
	}
	if err := fail(t, l, k); fault.KindOf(err) != fault.TooMany {
		t.Errorf("only one attempt comes back: %v", err)
	}
	*clock = clock.Add(time.Hour)
	for i := range 10 {
		if err := fail(t, l, k); err != nil {
			t.Fatalf("an hour later, failure %d: %v", i+1, err)
		}
	}
	if err := fail(t, l, k); fault.KindOf(err) != fault.TooMany {
		t.Errorf("an hour saves no more than 10: %v", err)
	}
}

func TestLocal_SuccessesAreFree(t *testing.T) {
	l, _ := newLocal()
	for range 1000 {
		if err := l.Check(t.Context(), Key{Kind: "account", Name: "ci"}); err != nil {
			t.Fatal(err)
		}
	}
	if l.keys.Len() != 0 {
		t.Error("a key that never failed is kept")
	}
}

// What failed side by side, past the allowance, is waited for.
func TestB10_ParallelFailuresAreOwed(t *testing.T) {
	l, clock := newLocal()
	k := Key{Kind: "address", Name: "192.0.2.1"}
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if err := l.Add(t.Context(), k); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	*clock = clock.Add(125 * time.Second)
	if err := l.Check(t.Context(), k); fault.KindOf(err) != fault.TooMany {
		t.Errorf("125 s after 30 failures: %v", err)
	}
	*clock = clock.Add(time.Second)
	if err := l.Check(t.Context(), k); err != nil {
		t.Errorf("126 s after 30 failures: %v", err)
	}
}

// TestU123_DebtIsBounded: however many fail side by side, a key waits for no more than ten
// allowances.
func TestU123_DebtIsBounded(t *testing.T) {
	for _, failures := range []int{99, 100, 101, 5000} {
		l, clock := newLocal()
		k := Key{Kind: "address", Name: "192.0.2.1"}
		var all sync.WaitGroup
		for range failures {
			all.Go(func() {
				if err := l.Add(t.Context(), k); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		owed := time.Duration(min(failures, MaxOwed*10)-9) * 6 * time.Second // until the first comes back
		if err := l.Check(t.Context(), k); fault.KindOf(err) != fault.TooMany || (fault.From(err).RetryAfter-owed).Abs() > time.Millisecond {
			t.Errorf("%d failures: %v, retry after %s, want %s", failures, err, fault.From(err).RetryAfter, owed)
		}
		*clock = clock.Add(owed + time.Millisecond)
		if err := fail(t, l, k); err != nil {
			t.Errorf("%d failures, %s later: %v", failures, owed, err)
		}
		if err := l.Check(t.Context(), k); fault.KindOf(err) != fault.TooMany {
			t.Errorf("%d failures, after one more: %v", failures, err)
		}
	}
}

func TestLocal_IsBounded(t *testing.T) {
	l, _ := newLocal()
	for i := range localKeys + 100 {
		if err := l.Add(t.Context(), Key{Kind: "address", Name: strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.keys.Len(); n != localKeys {
		t.Errorf("%d keys are kept", n)
	}
}
