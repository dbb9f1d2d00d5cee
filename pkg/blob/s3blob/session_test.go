package s3blob_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/fault"
)

// session records one upload, as package meta would.
type session struct {
	t     testing.TB
	store *s3blob.Store

	mu       sync.Mutex
	stage    blob.Stage
	intended []blob.Key
	forget   bool // to lose the answer of Multipart, as a crash does
	unheard  bool // to record what Multipart says, and lose the answer
}

var errForgotten = errors.New("the process died here")

func newSession(t testing.TB, s *s3blob.Store) *session {
	return &session{t: t, store: s, stage: blob.Stage{Key: blob.Key{Tenant: 3, Incarnation: uuid.New()}}}
}

// body is a source that no one hashes.
type body struct{ io.Reader }

func (body) Mark() ([]byte, error) { return []byte("state"), nil }

func (s *session) append(ctx context.Context, r io.Reader) error {
	s.mu.Lock()
	s.stage.Epoch++
	st := s.stage
	s.mu.Unlock()
	return s.store.Append(ctx, st, body{r}, s)
}

func (s *session) mustAppend(p []byte) {
	s.t.Helper()
	if err := s.append(s.t.Context(), bytes.NewReader(p)); err != nil {
		s.t.Fatalf("append of %d bytes at %d: %v", len(p), s.stage.Offset, err)
	}
}

func (s *session) seal() (int64, error) { return s.store.Seal(s.t.Context(), s.stage) }

func (s *session) mustSeal(want []byte) {
	s.t.Helper()
	if n, err := s.seal(); err != nil || n != int64(len(want)) {
		s.t.Fatalf("seal: %d, %v; want %d", n, err, len(want))
	}
	s.mustHold(want)
}

func (s *session) mustHold(want []byte) {
	s.t.Helper()
	if got, err := s.read(); err != nil || !bytes.Equal(got, want) {
		s.t.Fatalf("content: %d bytes, %v; want %d, equal", len(got), err, len(want))
	}
}

// read reads the object as a client would get it.
func (s *session) read() ([]byte, error) {
	c, err := s.store.Open(s.t.Context(), s.stage.Key)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return io.ReadAll(c)
}

// discard deletes all that the session has stored.
func (s *session) discard() error {
	err := s.store.Delete(context.WithoutCancel(s.t.Context()), s.stage.Key, s.stage.Multipart)
	for _, k := range s.intended {
		err = errors.Join(err, s.store.Delete(context.WithoutCancel(s.t.Context()), k, ""))
	}
	return err
}

func (s *session) Intend(_ context.Context, k blob.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intended = append(s.intended, k)
	return nil
}

func (s *session) Multipart(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forget {
		return errForgotten
	}
	s.stage.Multipart = id
	if s.unheard {
		return errForgotten
	}
	return nil
}

func (s *session) Step(_ context.Context, p blob.Progress) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.Offset, s.stage.Tail = p.Offset, p.Tail
	s.stage.Parts = append(s.stage.Parts, p.Parts...)
	return nil
}

func isDown(err error) bool { return fault.KindOf(err) == fault.Unavailable && err != nil }

func isMissing(err error) bool { return errors.Is(err, blob.ErrMissing) && !isDown(err) }
