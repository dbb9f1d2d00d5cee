package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/proxy/fetch"
)

func TestE14_ThousandReadersOneFetch(t *testing.T) {
	w := newWorld(t)
	f := w.node(nil)
	content := bytesOf(5*held + 3)
	s := newFed(int64(len(content)))
	const readers = 1000
	var all sync.WaitGroup
	for range readers {
		all.Go(func() { mustRead(t, f, w.target(content), s.source, content) })
	}
	s.give(t, content[:2*held]) // the rest while they read
	s.give(t, content[2*held:])
	s.feed.Close()
	all.Wait()
	w.settle(f)
	if n := s.calls(); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
	w.mustHold(content)
}

func TestOpen_Sizes(t *testing.T) {
	w := newWorld(t)
	f := w.node(nil)
	stored := map[oci.Digest]int{}
	for i, said := range []struct{ target, source bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		for _, a := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
			for _, size := range []int{0, 1, held, held + 1, 3*held + 7} {
				content := bytesOf(size)
				target := w.target(content)
				target.Repo.Name += strconv.Itoa(i)
				target.Digest = oci.DigestOf(a, content)
				if !said.target {
					target.Size = -1
				}
				s := &source{say: func(context.Context, int) (io.Reader, int64, error) {
					if said.source {
						return bytes.NewReader(content), int64(size), nil
					}
					return bytes.NewReader(content), -1, nil
				}}
				mustRead(t, f, target, s, content)
				stored[target.Digest] = size
			}
		}
	}
	w.settle(f)
	for i := range 4 {
		for d, size := range stored {
			r := w.repo
			r.Name += strconv.Itoa(i)
			if b, err := w.Meta.FindBlob(t.Context(), r, d); err != nil || b.Size != int64(size) {
				t.Errorf("%s, %d bytes, in %s: %v, %v", d, size, r.Name, b, err)
			}
			w.held[d] = true
		}
	}
	w.mustBeClean()
}

// Who reads it gets bytes before they are all there, and before they are stored.
func TestOpen_FirstBytesAtOnce(t *testing.T) {
	w := newWorld(t)
	f := w.node(nil)
	content := bytesOf(4 * held)
	s := newFed(int64(len(content)))
	go s.give(t, content[:1])
	c, err := f.Open(t.Context(), w.target(content), s.Open)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := io.ReadFull(c, make([]byte, 1)); n != 1 || err != nil {
		t.Fatalf("the first byte: %v", err)
	}
	go func() {
		s.give(t, content[1:])
		s.feed.Close()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, content[1:]) {
		t.Errorf("the rest: %d bytes, %v", len(got), err)
	}
	w.settle(f)
	w.mustHold(content)
}

// TestR43_FirstClientLeaves: the first client, if it leaves, ends nothing.
func TestR43_FirstClientLeaves(t *testing.T) {
	const offsets = 20
	w := newWorld(t)
	for i := range offsets {
		content := bytesOf(4*held + i)
		f := w.node(nil)
		s := newFed(int64(len(content)))
		ctx, leave := context.WithCancelCause(t.Context())
		at := i * len(content) / offsets
		first, stays := make(chan error, 1), make(chan struct{})
		go func() {
			c, err := f.Open(ctx, w.target(content), s.Open)
			if err == nil {
				_, err = io.Copy(io.Discard, c)
				c.Close()
			}
			first <- err
		}()
		await.True(t, 20*time.Second, "the upstream is asked", func() bool { return s.calls() == 1 })
		s.give(t, content[:at])
		go func() {
			defer close(stays)
			mustRead(t, f, w.target(content), s.source, content)
		}()
		leave(errors.New("the client left"))
		if err := <-first; err == nil {
			t.Errorf("at %d: the client that left got all", at)
		}
		s.give(t, content[at:])
		s.feed.Close()
		<-stays
		w.settle(f)
		if n := s.calls(); n != 1 {
			t.Errorf("at %d: the upstream was asked %d times", at, n)
		}
		w.mustHold(content)
	}
}

// TestR43_NobodyStays: what was begun is finished, and the next finds it.
func TestR43_NobodyStays(t *testing.T) {
	w := newWorld(t)
	f := w.node(nil)
	content := bytesOf(3 * held)
	s := newFed(int64(len(content)))
	ctx, leave := context.WithCancel(t.Context())
	s2 := make(chan error, 1)
	go func() {
		_, err := f.Open(ctx, w.target(content), s.Open)
		s2 <- err
	}()
	await.True(t, 20*time.Second, "the upstream is asked", func() bool { return s.calls() == 1 })
	leave()
	if err := <-s2; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Open of a client that left: %v", err)
	}
	s.give(t, content)
	s.feed.Close()
	await.True(t, 20*time.Second, "it is stored", func() bool {
		_, err := w.Meta.FindBlob(t.Context(), w.repo, w.target(content).Digest)
		return err == nil
	})
	// The caller's own look may have been just before.
	mustRead(t, f, w.target(content), s.source, content)
	w.settle(f)
	if n := s.calls(); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
	w.mustHold(content)
}

func TestOpen_FailureBeforeTheFirstByte(t *testing.T) {
	w := newWorld(t)
	f := w.node(nil)
	content := bytesOf(3 * held)
	gate := make(chan struct{})
	s := &source{say: func(context.Context, int) (io.Reader, int64, error) {
		<-gate
		return nil, 0, errDown
	}}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := f.Open(t.Context(), w.target(content), s.Open); !errors.Is(err, errDown) {
				t.Errorf("Open: %v", err)
			}
		})
	}
	await.True(t, 20*time.Second, "the upstream is asked", func() bool { return s.calls() == 1 })
	close(gate)
	all.Wait()
	// It is not remembered.
	mustRead(t, f, w.target(content), gives(content), content)
	w.settle(f)
	w.mustHold(content)
}

func TestClose_WaitsForWhatIsStored(t *testing.T) {
	w := newWorld(t)
	f := w.node(nil)
	content := bytesOf(3 * held)
	s := newFed(int64(len(content)))
	got := make(chan struct{})
	go func() {
		defer close(got)
		mustRead(t, f, w.target(content), s.source, content)
	}()
	await.True(t, 20*time.Second, "the upstream is asked", func() bool { return s.calls() == 1 })
	closed := make(chan error, 1)
	go func() { closed <- f.Close(t.Context()) }()
	await.True(t, 20*time.Second, "nothing is begun", func() bool {
		_, err := f.Open(t.Context(), w.target([]byte("another")), (&source{say: func(context.Context, int) (io.Reader, int64, error) { return nil, 0, errDown }}).Open)
		return fault.KindOf(err) == fault.Unavailable
	})
	select {
	case err := <-closed:
		t.Fatalf("Close did not wait: %v", err)
	default:
	}
	s.give(t, content)
	s.feed.Close()
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	<-got
	w.mustHold(content)
}

func TestClose_EndsWhatTakesTooLong(t *testing.T) {
	w := newWorld(t)
	f := w.node(nil)
	content := bytesOf(3 * held)
	s := newFed(int64(len(content)))
	go s.give(t, content[:held])
	c, err := f.Open(t.Context(), w.target(content), s.Open)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errDown)
	if err := f.Close(ctx); !errors.Is(err, errDown) {
		t.Errorf("Close: %v", err)
	}
	if _, err := io.ReadAll(c); fault.KindOf(err) != fault.Unavailable || blob.ReadError(c) == nil {
		t.Errorf("its reader: %v", err)
	}
	w.mustLack(content)
}

// A blob whose object the store has lost is fetched again, and so is healed.
func TestOpen_HealsWhatTheStoreLost(t *testing.T) {
	w := newWorld(t)
	content := bytesOf(2 * held)
	f := w.node(nil)
	mustRead(t, f, w.target(content), gives(content), content)
	w.settle(f)
	b, err := w.Meta.FindBlob(t.Context(), w.repo, w.target(content).Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Blobs.Delete(t.Context(), b.Key, ""); err != nil {
		t.Fatal(err)
	}
	f, s := w.node(nil), gives(content)
	mustRead(t, f, w.target(content), s, content)
	w.settle(f)
	if s.calls() != 1 {
		t.Errorf("asked %d times", s.calls())
	}
	w.mustHold(content)
}

// Flights are bounded, one tenant does not have them all, and who no longer
// waits for one does not have it flown.
func TestOpen_FlightsAreBounded(t *testing.T) {
	w := newWorld(t)
	f := w.node(func(c *fetch.Config) { c.Flights = 4 }) // 3 of a tenant
	other := w.repo
	w.repo = w.cacheOf("greedy")
	var all sync.WaitGroup
	var running []fed
	for i := range 3 {
		content := bytesOf(100 + i)
		s := newFed(100 + int64(i))
		running = append(running, s)
		all.Go(func() { mustRead(t, f, w.target(content), s.source, content) })
	}
	for _, s := range running {
		await.True(t, 20*time.Second, "it is asked", func() bool { return s.calls() == 1 })
	}
	waits, left := gives(bytesOf(200)), gives(bytesOf(300))
	all.Go(func() { mustRead(t, f, w.target(bytesOf(200)), waits, bytesOf(200)) })
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := read(ctx, f, w.target(bytesOf(300)), left)
		gone <- err
	}()
	acme := w
	acme.repo = other
	mustRead(t, f, acme.target(bytesOf(400)), gives(bytesOf(400)), bytesOf(400))
	leave()
	if err := <-gone; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("one who left: %v", err)
	}
	if waits.calls() != 0 {
		t.Error("a tenant has more than its share")
	}
	for i, s := range running {
		s.give(t, bytesOf(100+i))
		s.feed.Close()
	}
	all.Wait()
	w.settle(f)
	if left.calls() != 0 {
		t.Error("it was fetched for no one")
	}
}

func TestR35_NoRoom(t *testing.T) {
	w := newWorld(t)
	f := w.node(nil)
	target := w.target([]byte("huge"))
	target.Size = 1 << 60
	s := &source{say: func(context.Context, int) (io.Reader, int64, error) { return bytes.NewReader(nil), -1, nil }}
	if _, err := f.Open(t.Context(), target, s.Open); fault.KindOf(err) != fault.BadUpstream {
		t.Errorf("passed through, it breaks off: %v", err)
	}
	if s.calls() != 1 || f.Direct() != 0 {
		t.Errorf("asked %d times, %d passed through", s.calls(), f.Direct())
	}
	missing := w.node(func(c *fetch.Config) { c.Dir += "/missing" })
	if _, err := missing.Open(t.Context(), w.target([]byte("x")), gives([]byte("x")).Open); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("without a directory: %v", err)
	}
	w.settle(f, missing)
	w.mustLack([]byte("huge"))
}
