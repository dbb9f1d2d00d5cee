package front

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
)

type sharedBodyKey struct{}

// sharedBodyOf is the body that the call shares with its transport; nil outside of one.
func sharedBodyOf(r *http.Request) *sharedBody {
	b, _ := r.Context().Value(sharedBodyKey{}).(*sharedBody)
	return b
}

// closeIfUnread closes the connection if the response comes before all of the body was
// read, so that the client does not send its next request there. net/http does not do so
// for full-duplex calls.
func closeIfUnread(h http.Header, r *http.Request) {
	if b := sharedBodyOf(r); b != nil && b.left.Load() != 0 && r.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
}

// sharedBody is the body of a request that a transport reads, perhaps even after
// the answer.
type sharedBody struct {
	io.ReadCloser
	left       atomic.Int64 // bytes still to be read; negative while unknown
	reading    sync.Mutex
	reclaimed  bool
	tooSlowErr atomic.Pointer[fault.Error] // why it was ended, if its client was too slow
}

func (b *sharedBody) tooSlow() *fault.Error {
	if b == nil {
		return nil
	}
	return b.tooSlowErr.Load()
}

func (b *sharedBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.reclaimed {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.left.Store(0)
	case fault.KindOf(err) == fault.TooSlow:
		b.tooSlowErr.Store(fault.From(err))
	case b.left.Load() > 0:
		b.left.Add(int64(-n))
	}
	return n, err
}

// reclaim waits for the last read of the body to end: when the client sends or
// leaves, or the pacer ends it. The client already has its answer.
func (b *sharedBody) reclaim(conn *http.ResponseController, r *http.Request) {
	if !b.reading.TryLock() {
		_ = conn.Flush() // fails for a client that is gone
		web.EndPause(r.Context())
		b.reading.Lock()
	}
	b.reclaimed = true
	b.reading.Unlock()
}

// progressReader ends a call whose other process makes no progress for limit. The
// pauses of clients do not count: the pacer bounds those.
type progressReader struct {
	io.ReadCloser
	timer *time.Timer
	limit time.Duration
}

// requestBody is the body of a request: reading it waits for the client.
type requestBody struct{ progressReader }

func (s requestBody) Read(p []byte) (int, error) {
	s.timer.Stop()
	n, err := s.ReadCloser.Read(p)
	s.timer.Reset(s.limit)
	return n, err
}

// maxBackoff is the longest time between two tries of a TCP sender.
const maxBackoff = 2 * time.Minute

// responseBody is the body of an answer: reading it waits for the other process.
// With it the call ends.
type responseBody struct {
	progressReader
	cancel context.CancelCauseFunc
	read   time.Time     // when the last Read ended
	paused time.Duration // sum of the times between two Reads
}

// Read allows for the reader's pauses. While a TCP window is closed, its sender tries
// at growing intervals: after a pause the next bytes may take as long again.
func (s *responseBody) Read(p []byte) (int, error) {
	s.paused += time.Since(s.read)
	s.timer.Reset(s.limit + min(s.paused, maxBackoff))
	n, err := s.ReadCloser.Read(p)
	s.timer.Stop()
	s.read = time.Now()
	return n, err
}

func (s *responseBody) Close() error {
	s.timer.Stop()
	err := s.progressReader.Close()
	s.cancel(nil)
	return err
}
