package blobtest

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// slowClient gives its bytes and then waits until it is interrupted.
type slowClient struct {
	bytes.Reader
	waiting chan struct{} // closed when all bytes were read
	ended   chan struct{}
	once    sync.Once
}

var errInterrupted = errors.New("interrupted")

func newSlowClient(p []byte) *slowClient {
	c := &slowClient{waiting: make(chan struct{}), ended: make(chan struct{})}
	c.Reset(p)
	return c
}

func (c *slowClient) Read(p []byte) (int, error) {
	if c.Len() > 0 {
		return c.Reader.Read(p)
	}
	c.once.Do(func() { close(c.waiting) })
	<-c.ended
	return 0, errInterrupted
}

// slowSource is a source over a slow client that can be interrupted.
type slowSource struct {
	*source
	client *slowClient
}

// Interrupt ends a Read that waits.
func (s slowSource) Interrupt() { close(s.client.ended) }

// A session whose client hangs is taken over by the client's next try.
func (scale Scale) testFence(t *testing.T, store blob.Store) {
	s := newSession(t, store)
	s.mustAppend([]byte("first "))

	client := newSlowClient(ocitest.Noise(scale.Unit/4, 5))
	stage, j := s.take()
	older := make(chan error, 1)
	go func() { older <- store.Append(t.Context(), stage, slowSource{s.source(client), client}, j) }()
	<-client.waiting

	s.mustAppend([]byte("second"))
	if err := <-older; !errors.Is(err, blob.ErrFenced) {
		t.Errorf("older append: %v, want ErrFenced", err)
	}
	s.mustSeal([]byte("first second"))
}

// What the older writer recorded before it was fenced counts; the next one continues
// from there.
func (scale Scale) testFenceAfterSteps(t *testing.T, store blob.Store) {
	want := ocitest.Noise(3*scale.Unit, 8)
	s := newSession(t, store)
	client := newSlowClient(want[:2*scale.Unit+scale.Unit/2])
	stage, j := s.take()
	older := make(chan error, 1)
	go func() { older <- store.Append(t.Context(), stage, slowSource{s.source(client), client}, j) }()
	<-client.waiting

	stage, j = s.take()
	rest := s.source(bytes.NewReader(want[stage.Offset:]))
	if err := store.Append(t.Context(), stage, rest, j); err != nil {
		t.Errorf("newer append at %d: %v", stage.Offset, err)
	}
	if err := <-older; !errors.Is(err, blob.ErrFenced) {
		t.Errorf("older append: %v, want ErrFenced", err)
	}
	s.mustSeal(want)
}

// A writer took the session, was paused, and wakes up after its successor
// finished: it must not change acknowledged bytes.
func testLateWriter(t *testing.T, store blob.Store) {
	s := newSession(t, store)
	s.mustAppend([]byte("first "))
	stage, j := s.take()
	late := s.source(bytes.NewReader([]byte("LATE")))
	s.mustAppend([]byte("second"))
	if err := store.Append(t.Context(), stage, late, j); !errors.Is(err, blob.ErrFenced) {
		t.Errorf("late append: %v, want ErrFenced", err)
	}
	s.mustSeal([]byte("first second"))
}

func testLateWriterAfterSeal(t *testing.T, store blob.Store) {
	s := newSession(t, store)
	s.mustAppend([]byte("whole"))
	stage, j := s.take()
	late := s.source(bytes.NewReader([]byte("LATE")))
	s.mustSeal([]byte("whole"))
	if err := store.Append(t.Context(), stage, late, j); !errors.Is(err, blob.ErrFenced) {
		t.Errorf("late append: %v, want ErrFenced", err)
	}
	s.mustHold([]byte("whole"))
}

// Writers that all start from what the session says interleave as they like;
// what was recorded is what is stored.
func testManyWriters(t *testing.T, store blob.Store) {
	want := ocitest.Noise(200_000, 6)
	s := newSession(t, store)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				s.mu.Lock()
				s.stage.Epoch++
				stage, j := s.stage, journal{session: s, epoch: s.stage.Epoch}
				src := resume(t, nil, s.state)
				s.mu.Unlock()
				src.Reader = bytes.NewReader(want[stage.Offset:min(stage.Offset+1500, int64(len(want)))])
				if err := store.Append(t.Context(), stage, src, j); err != nil && !errors.Is(err, blob.ErrFenced) {
					t.Errorf("append at %d: %v", stage.Offset, err)
				}
			}
		})
	}
	wg.Wait()
	if s.offset() == 0 {
		t.Fatal("no writer got through")
	}
	s.mustSeal(want[:s.offset()])
}
