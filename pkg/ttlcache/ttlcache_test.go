package ttlcache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/ttlcache"
)

var errUnknown = errors.New("unknown")

// source loads keys by their length, and counts how often.
type source struct {
	mu    sync.Mutex
	loads int
	fail  error
	began chan struct{} // if not nil, a load says here that it began, and ends when it can take from release
	done  chan struct{}
}

func (s *source) load(_ context.Context, key string) (int, error) {
	s.mu.Lock()
	s.loads++
	fail := s.fail
	s.mu.Unlock()
	if s.began != nil {
		s.began <- struct{}{}
		<-s.done
	}
	return len(key), fail
}

func start(s *source) (*ttlcache.Cache[string, int], *time.Time) {
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return ttlcache.New(ttlcache.Options[string, int]{
		Size: 4, Now: func() time.Time { return clock }, Load: s.load, Life: time.Minute,
		Misses: 2, IsMiss: func(err error) bool { return errors.Is(err, errUnknown) },
	}), &clock
}

func TestGet_LoadsWhatIsTooOld(t *testing.T) {
	s := &source{}
	c, clock := start(s)
	for _, step := range []struct {
		pass time.Duration
		want int
	}{{0, 1}, {time.Minute - 1, 1}, {1, 2}, {0, 2}} {
		*clock = clock.Add(step.pass)
		if v, err := c.Get(t.Context(), "key"); v != 3 || err != nil || s.loads != step.want {
			t.Errorf("Get = %d, %v after %d loads, want %d", v, err, s.loads, step.want)
		}
	}
}

func TestGet_RemembersMissesApartAndNoOutage(t *testing.T) {
	s := &source{}
	c, _ := start(s)
	if _, err := c.Get(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	s.fail = errUnknown
	for i := range 100 {
		for range 2 {
			if _, err := c.Get(t.Context(), fmt.Sprint(i)); !errors.Is(err, errUnknown) {
				t.Fatal(err)
			}
		}
	}
	if s.loads != 101 {
		t.Errorf("%d loads of 101 keys", s.loads)
	}
	if _, err := c.Get(t.Context(), "key"); err != nil {
		t.Errorf("misses pushed a value out: %v", err)
	}
	s.fail = errors.New("outage")
	for range 2 {
		if _, err := c.Get(t.Context(), "other"); !errors.Is(err, s.fail) {
			t.Error(err)
		}
	}
	if s.loads != 103 {
		t.Errorf("%d loads: an outage is not an answer", s.loads)
	}
}

// A load continues when the caller that began it leaves; one that began before Clear
// is not seen after it.
func TestGet_IsSharedAndClearedWhileItLoads(t *testing.T) {
	s := &source{began: make(chan struct{}), done: make(chan struct{})}
	c, _ := start(s)
	leaving, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := c.Get(leaving, "key")
		left <- err
	}()
	<-s.began
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that left: %v", err)
	}
	c.Clear()
	s.done <- struct{}{}
	s.began = nil
	if _, err := c.Get(t.Context(), "key"); err != nil || s.loads != 2 {
		t.Errorf("%d loads, %v: what was loaded before Clear is answered after it", s.loads, err)
	}
}

func TestPut_IsBoundedAndEnds(t *testing.T) {
	c, clock := start(&source{})
	for i := range 10 {
		c.Put(fmt.Sprint(i), i, time.Minute)
	}
	c.Put("never", 1, 0)
	if n := c.Len(); n != 4 {
		t.Errorf("%d values, want 4", n)
	}
	if v, ok := c.Find("9"); !ok || v != 9 {
		t.Error("the last value is not found")
	}
	c.Drop("8")
	*clock = clock.Add(time.Minute)
	for _, key := range []string{"8", "9", "never"} {
		if _, ok := c.Find(key); ok {
			t.Errorf("%q is found", key)
		}
	}
}

// BenchmarkGet is the hot path: it must not allocate.
func BenchmarkGet(b *testing.B) {
	c, _ := start(&source{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Get(b.Context(), "key"); err != nil {
			b.Fatal(err)
		}
	}
}

// Loads of different keys that read alike are not one (contract row B13).
func TestB13_AlikeKeysAreLoadedApart(t *testing.T) {
	type key struct{ a, b string }
	began, release := make(chan struct{}), make(chan struct{})
	c := ttlcache.New(ttlcache.Options[key, key]{
		Size: 4, Now: time.Now, Life: time.Minute,
		Load: func(_ context.Context, k key) (key, error) {
			began <- struct{}{}
			<-release
			return k, nil
		},
	})
	var loads sync.WaitGroup
	for _, k := range []key{{"x y", "z"}, {"x", "y z"}} {
		loads.Go(func() {
			if got, err := c.Get(t.Context(), k); got != k || err != nil {
				t.Errorf("Get of %q = %q, %v", k, got, err)
			}
		})
	}
	<-began
	<-began // both are running at once
	close(release)
	loads.Wait()
}
