package inflight

import "github.com/berth-registry/berth/pkg/fault"

// Write takes the next bytes of the source. More than the stream's size is
// fault.SizeInvalid, of kind BadUpstream, and nothing of p is taken then. A file
// that cannot be written is fault.Unavailable. Neither ends the stream: readers
// continue with what is there until the owner has decided. After Fail it returns
// what the stream failed with.
func (s *Stream) Write(p []byte) (int, error) {
	if err := s.Err(); err != nil {
		return 0, err
	}
	skipped := int(min(s.skip, int64(len(p))))
	fresh := p[skipped:]
	at := s.hash.Size()
	if s.size >= 0 && int64(len(fresh)) > s.size-at {
		return 0, fault.New(fault.BadUpstream, fault.SizeInvalid, "the content that came has more than its %d bytes", s.size)
	}
	s.skip -= int64(skipped)
	n, err := s.file.WriteAt(fresh, at)
	if n > 0 {
		_, _ = s.hash.Write(fresh[:n]) // it never fails
		s.advance(s.hash.Size())
	}
	if err != nil {
		return skipped + n, down(err)
	}
	return len(p), nil
}

func (s *Stream) advance(written int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.written = written
		s.wake()
	}
}

// Restart begins with a new source, the one before having died: what is written
// next is its first byte. As many bytes as were written already are skipped,
// since readers may have sent them: it is those that Finish proves.
func (s *Stream) Restart() { s.skip = s.hash.Size() }

// Finish ends the stream: the source has ended. Where the digest of what was
// written is right, readers get the bytes held back. Else the stream fails, with
// what Finish returns: fault.SizeInvalid for less than the stream's size,
// fault.DigestInvalid for another digest, both of kind BadUpstream. To continue with
// another source after a short one, call Restart instead.
func (s *Stream) Finish() error { return s.end(s.verify()) }

func (s *Stream) verify() error {
	if n := s.hash.Size(); s.size >= 0 && n != s.size {
		return fault.New(fault.BadUpstream, fault.SizeInvalid, "the content that came has %d bytes, not %d", n, s.size)
	}
	if got := s.hash.Digest(); got != s.digest {
		return fault.New(fault.BadUpstream, fault.DigestInvalid, "the content that came has the digest %s, not %s", got, s.digest)
	}
	return nil
}
