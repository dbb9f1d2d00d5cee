package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"fmt"
	"hash"
	"io"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
)

// session stands in for package meta: it remembers one upload session and lets
// only the newest writer record progress.
type session struct {
	t     testing.TB
	store blob.Store

	mu    sync.Mutex
	stage blob.Stage
	state []byte  // of the source at stage.Offset
	steps []int64 // every offset that was recorded

	intended []blob.Key // objects beside stage.Key that may be there
	fail     error      // what the next Step returns instead of recording
}

func newSession(t testing.TB, store blob.Store) *session {
	return &session{t: t, store: store, stage: blob.Stage{Key: blob.Key{Tenant: 7, Incarnation: uuid.New()}}}
}

// take makes the caller the newest writer.
func (s *session) take() (blob.Stage, journal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.Epoch++
	return s.stage, journal{session: s, epoch: s.stage.Epoch}
}

func (s *session) offset() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage.Offset
}

// source hashes r from where the session is.
func (s *session) source(r io.Reader) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	return resume(s.t, r, s.state)
}

// append takes the session over and appends what r gives.
func (s *session) append(ctx context.Context, r io.Reader) error {
	stage, j := s.take()
	return s.store.Append(ctx, stage, s.source(r), j)
}

// mustAppend appends p and expects it to be recorded to the last byte.
func (s *session) mustAppend(p []byte) {
	s.t.Helper()
	before := s.offset()
	if err := s.append(s.t.Context(), bytes.NewReader(p)); err != nil {
		s.t.Fatalf("append of %d bytes at %d: %v", len(p), before, err)
	}
	if got, want := s.offset(), before+int64(len(p)); got != want {
		s.t.Fatalf("offset %d after append, want %d", got, want)
	}
}

// mustSeal seals and expects exactly want to be stored, with its hash state.
func (s *session) mustSeal(want []byte) {
	s.t.Helper()
	stage, _ := s.take()
	size, err := s.store.Seal(s.t.Context(), stage)
	if err != nil || size != int64(len(want)) {
		s.t.Fatalf("seal: %d, %v, want %d bytes", size, err, len(want))
	}
	s.mustHold(want)
}

// mustReadBack expects the staged bytes to be exactly want.
func (s *session) mustReadBack(want []byte) {
	s.t.Helper()
	c, err := s.store.OpenStaged(s.t.Context(), s.stage)
	if err != nil {
		s.t.Fatalf("open staged: %v", err)
	}
	defer c.Close()
	got, err := io.ReadAll(io.LimitReader(c, s.offset()))
	if err != nil || !bytes.Equal(got, want) {
		s.t.Fatalf("staged: %d bytes, %v; want %d, equal", len(got), err, len(want))
	}
}

// mustHold expects the object to be exactly want.
func (s *session) mustHold(want []byte) {
	s.t.Helper()
	size, err := s.store.Stat(s.t.Context(), s.stage.Key)
	if err != nil || size != int64(len(want)) {
		s.t.Fatalf("stat: %d, %v, want %d", size, err, len(want))
	}
	c, err := s.store.Open(s.t.Context(), s.stage.Key)
	if err != nil {
		s.t.Fatalf("open: %v", err)
	}
	got, err := io.ReadAll(c)
	if err != nil || c.Size() != int64(len(want)) || !bytes.Equal(got, want) {
		s.t.Fatalf("content: %d bytes, size %d, %v; want %d bytes, equal", len(got), c.Size(), err, len(want))
	}
	if err := c.Close(); err != nil {
		s.t.Fatalf("close: %v", err)
	}
	sum := sha256.Sum256(want)
	if got := resume(s.t, bytes.NewReader(nil), s.state).hash.Sum(nil); !bytes.Equal(got, sum[:]) {
		s.t.Fatalf("the recorded hash state is not that of the content")
	}
}

// journal is the session as one writer sees it.
type journal struct {
	session *session
	epoch   int64
}

func (j journal) Intend(_ context.Context, k blob.Key) error {
	return j.record(func(s *session) { s.intended = append(s.intended, k) })
}

func (j journal) Multipart(_ context.Context, id string) error {
	return j.record(func(s *session) { s.stage.Multipart = id })
}

func (j journal) Step(ctx context.Context, p blob.Progress) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("a step needs a context that outlives the request: %w", err)
	}
	return j.record(func(s *session) {
		if p.Offset < s.stage.Offset {
			s.t.Errorf("step back from %d to %d", s.stage.Offset, p.Offset)
		}
		s.stage.Offset, s.stage.Tail, s.state = p.Offset, p.Tail, p.State
		s.stage.Parts = append(s.stage.Parts[:len(s.stage.Parts):len(s.stage.Parts)], p.Parts...)
		s.steps = append(s.steps, p.Offset)
	})
}

func (j journal) record(change func(*session)) error {
	s := j.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage.Epoch != j.epoch {
		return fmt.Errorf("epoch is %d, not %d: %w", s.stage.Epoch, j.epoch, blob.ErrFenced)
	}
	if err := s.fail; err != nil {
		s.fail = nil
		return err
	}
	change(s)
	return nil
}

// source is a blob.Source that keeps a SHA-256.
type source struct {
	io.Reader
	hash hash.Hash
}

func resume(t testing.TB, r io.Reader, state []byte) *source {
	h := sha256.New()
	if len(state) > 0 {
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
			t.Errorf("the recorded hash state is none: %v", err)
		}
	}
	return &source{Reader: r, hash: h}
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.hash.Write(p[:n])
	return n, err
}

// Mark returns the hash state after the bytes read so far.
func (s *source) Mark() ([]byte, error) {
	return s.hash.(encoding.BinaryMarshaler).MarshalBinary()
}
