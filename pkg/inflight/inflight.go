// Package inflight holds bytes in flight: a blob that is written once, as it
// arrives, and read by many while it does.
//
// What readers get is proven before it is complete: the last bytes are held back
// until the digest of all of them was found right (contract E6). Else readers
// fail, so that what they were sent never ends cleanly.
package inflight

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/internal/tempfile"
	"github.com/berth-registry/berth/pkg/oci"
)

// heldBack is how many of the last bytes readers get only once the digest was
// found right; of a shorter blob it is all.
const heldBack = 64 << 10

// errGivenUp is why readers of a stream fail whose owner gave no reason.
var errGivenUp = errors.New("inflight: the content was given up while it arrived")

// Options says what a stream is of.
type Options struct {
	Digest oci.Digest // as oci.ParseDigest returns it
	Size   int64      // in bytes; -1 = unknown
	Dir    string     // of the temporary file; "" = the system's
	// Name is of this blob where it is fetched to, for Leftovers. Without one, and where the size
	// is unknown, the file has no name, and nothing is left of it when the process ends.
	Name string
	// Held is called with the number of bytes by which the temporary file grows, and with a
	// negative number once it is gone. It may be nil.
	Held func(n int64)
}

// Stream is one blob in flight. Its bytes are in a temporary file, so that
// memory does not grow with them, nor with how far apart the readers are.
//
// Write, Resume and Finish are for one goroutine, the writer's; everything
// else is safe for concurrent use.
type Stream struct {
	digest oci.Digest
	size   int64 // -1 = unknown
	file   *os.File
	held   func(n int64)
	done   chan struct{}

	// The writer's own.
	hash *oci.Hasher
	skip int64 // bytes of the new source that were written before

	mu       sync.Mutex
	written  int64
	ended    bool
	err      error         // why it failed; nil where it ended well
	changed  chan struct{} // closed at the next change; nil while no reader waits for one
	users    int           // the owner and the readers that are open
	released bool
	named    bool // the file has a name
	kept     bool // and keeps it
}

// New makes an empty stream. The caller, its owner, writes it and releases it.
// It fails with fault.Unavailable where no temporary file can be made.
func New(o Options) (*Stream, error) {
	named := o.Name != "" && o.Size > 0 && thisBoot() != ""
	var file *os.File
	var err error
	if named {
		file, err = namedFile(o.Dir, o.Name, o.Size)
	} else {
		file, err = tempfile.Unlinked(o.Dir, filePrefix)
	}
	if err != nil {
		return nil, down(err)
	}
	s := newStream(o, file, oci.NewHasher(o.Digest.Algorithm()))
	s.named = named
	return s, nil
}

func newStream(o Options, file *os.File, hash *oci.Hasher) *Stream {
	if o.Held == nil {
		o.Held = func(int64) {}
	}
	return &Stream{
		digest: o.Digest, size: o.Size, file: file, held: o.Held, done: make(chan struct{}),
		hash: hash, users: 1,
	}
}

func down(err error) error { return fault.Down(err, "the space for content in flight") }

// Written is how many bytes have arrived, those that are held back included.
func (s *Stream) Written() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}

// Size is how many bytes the blob has; -1 = unknown.
func (s *Stream) Size() int64 { return s.size }

// Readers is how many are open.
func (s *Stream) Readers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released {
		return s.users
	}
	return s.users - 1 // without the owner
}

// Done is closed once the stream has ended, well or not.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Err is why the stream failed; nil before Done, and where it ended well.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Fail ends the stream: its readers fail with err, and also where that is nil.
// One that has ended stays as it is.
func (s *Stream) Fail(err error) {
	if err == nil {
		err = errGivenUp
	}
	_ = s.end(err) // the caller knows
}

// end ends the stream unless it has, and returns how it ended.
func (s *Stream) end(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.err = true, err
		close(s.done)
		s.wake()
	}
	return s.err
}

// wake wakes the waiting readers. The caller holds mu.
func (s *Stream) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Release is the owner's last call; one that follows is harmless. A stream that
// has not ended fails. The file goes when the last reader is closed, at once
// for a Source.
func (s *Stream) Release() {
	s.Fail(errGivenUp)
	s.mu.Lock()
	again := s.released
	s.released = true
	s.mu.Unlock()
	if !again {
		s.leave()
	}
}

// Keep leaves the file, if it has a name, to Leftovers of the next process. It is for the
// owner, before Release.
func (s *Stream) Keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = true
}

// enter counts a user of the file; it is false once the last user has left, and the
// file is gone.
func (s *Stream) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == 0 {
		return false
	}
	s.users++
	return true
}

// leave ends what enter began.
func (s *Stream) leave() {
	s.mu.Lock()
	s.users--
	last, remove := s.users == 0, s.named && !s.kept
	s.mu.Unlock()
	if !last {
		return
	}
	if remove {
		_ = os.Remove(s.file.Name()) // what stays is found by the next process
	}
	_ = s.file.Close()     // what it had to say was said
	s.held(-s.hash.Size()) // the writer has ended
}

// await returns up to where the bytes from at on can be read, once there are
// some: at itself at the end of a stream that ended well. The bytes held back
// count if seesHeld.
func (s *Stream) await(ctx context.Context, at int64, seesHeld bool) (int64, error) {
	for {
		end, changed, err := s.look(at, seesHeld)
		if changed == nil {
			return end, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// look is await without waiting: where there is nothing yet, it returns what is
// closed at the next change.
func (s *Stream) look(at int64, seesHeld bool) (int64, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return max(s.written, at), nil, s.err
	}
	end := s.written
	if !seesHeld {
		end = min(end, s.size-heldBack)
	}
	if at < end {
		return end, nil, nil
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return 0, s.changed, nil
}

// readAt reads bytes from at on, and waits for the first of them.
func (s *Stream) readAt(ctx context.Context, p []byte, at int64, seesHeld bool) (int, error) {
	end, err := s.await(ctx, at, seesHeld)
	switch {
	case err != nil:
		return 0, err
	case end <= at:
		return 0, io.EOF
	}
	n, err := s.file.ReadAt(p[:min(int64(len(p)), end-at)], at)
	if err != nil {
		return n, down(err)
	}
	return n, nil
}
