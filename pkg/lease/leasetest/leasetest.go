// Package leasetest is the conformance suite of lease.Leases.
package leasetest

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/lease"
)

// Run tests an implementation. open returns two handles on the same leases, as
// two processes would have; they may be one and the same. Nothing is held yet.
func Run(t *testing.T, open func(t *testing.T) (lease.Leases, lease.Leases)) {
	t.Run("one holder", func(t *testing.T) { testOneHolder(t, open) })
	t.Run("released once", func(t *testing.T) { testReleasedOnce(t, open) })
	t.Run("keys are apart", func(t *testing.T) { testKeys(t, open) })
	t.Run("notes", func(t *testing.T) { testNotes(t, open) })
	t.Run("a race has one winner", func(t *testing.T) { testRace(t, open) })
}

// Acquire acquires what must be free.
func Acquire(t *testing.T, l lease.Leases, k lease.Key, note string) lease.Lease {
	t.Helper()
	held, theirs, ok := l.Acquire(t.Context(), k, note)
	if !ok {
		t.Fatalf("%v is taken, with the note %q", k, theirs)
	}
	return held
}

// Taken checks that the lease is held, and left the note.
func Taken(t *testing.T, l lease.Leases, k lease.Key, note string) {
	t.Helper()
	held, theirs, ok := l.Acquire(t.Context(), k, "not left")
	if ok {
		held.Release()
		t.Fatalf("%v is granted twice", k)
	}
	if theirs != note {
		t.Errorf("%v: the note is %q, not %q", k, theirs, note)
	}
}

var work = lease.Key{Kind: "fetch", Tenant: 7, Name: "sha256:abc"}

func testOneHolder(t *testing.T, open func(t *testing.T) (lease.Leases, lease.Leases)) {
	a, b := open(t)
	for range 3 {
		held := Acquire(t, a, work, "at a")
		Taken(t, a, work, "at a")
		Taken(t, b, work, "at a")
		held.Release()
		held = Acquire(t, b, work, "at b")
		Taken(t, a, work, "at b")
		Taken(t, b, work, "at b")
		select {
		case <-held.Lost():
			t.Error("it is lost while it is held")
		default:
		}
		held.Release()
	}
}

func testReleasedOnce(t *testing.T, open func(t *testing.T) (lease.Leases, lease.Leases)) {
	a, b := open(t)
	first := Acquire(t, a, work, "")
	first.Release()
	second := Acquire(t, b, work, "second")
	first.Release()
	Taken(t, a, work, "second")
	second.Release()
}

func testKeys(t *testing.T, open func(t *testing.T) (lease.Leases, lease.Leases)) {
	a, b := open(t)
	long := strings.Repeat("x", 10_000)
	for i, k := range []lease.Key{
		{},
		{Kind: "a", Name: "b"},
		{Kind: "ab"},
		{Name: "ab"},
		{Kind: "a:b"},
		{Kind: "a:", Name: "b"},
		{Kind: "a", Tenant: 1, Name: "b"},
		{Kind: "a", Name: "1b"},
		{Kind: "a", Tenant: 11, Name: "b"},
		{Kind: "a", Tenant: 1, Name: "1b"},
		{Kind: "a", Name: long},
		{Kind: "a", Name: long + "x"},
		{Kind: "a", Name: "\x00\r\n"},
	} {
		held := Acquire(t, a, k, strconv.Itoa(i))
		defer held.Release()
		Taken(t, b, k, strconv.Itoa(i))
	}
}

func testNotes(t *testing.T, open func(t *testing.T) (lease.Leases, lease.Leases)) {
	a, b := open(t)
	most := strings.Repeat("n", lease.MaxNote)
	for note, want := range map[string]string{
		"": "", "http://10.0.0.7:5091": "http://10.0.0.7:5091", "\x00\xff\r\n$5\r\n": "\x00\xff\r\n$5\r\n", most: most, most + "n": "",
	} {
		held := Acquire(t, a, work, note)
		Taken(t, b, work, want)
		held.Release()
	}
}

func testRace(t *testing.T, open func(t *testing.T) (lease.Leases, lease.Leases)) {
	a, b := open(t)
	for range 10 {
		var mu sync.Mutex
		var winners []lease.Lease
		var all sync.WaitGroup
		for i := range 32 {
			all.Go(func() {
				held, _, ok := []lease.Leases{a, b}[i%2].Acquire(t.Context(), work, "")
				if ok {
					mu.Lock()
					winners = append(winners, held)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if len(winners) != 1 {
			t.Errorf("%d winners", len(winners))
		}
		for _, w := range winners {
			w.Release()
		}
	}
}
