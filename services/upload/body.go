package upload

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// Body is the part of a blob in a request, with its declared range.
type Body struct {
	Bytes  io.Reader // a blob.Interrupter if a waiting read can be ended
	Start  int64     // offset of the first byte in the blob; -1 if not declared
	Length int64     // in bytes; -1 if not declared
}

// empty reports whether the body certainly has no bytes.
func (b Body) empty() bool { return b.Length == 0 }

// discard reads and drops the body: the response comes after the same bytes,
// whether or not the blob is already stored (contract row C3).
func (b Body) discard() error {
	_, err := io.Copy(io.Discard, b.Bytes)
	return bodyError(err)
}

// source is a body for the blob store: it hashes while reading and checks the
// length.
type source struct {
	body        Body
	hasher      *oci.Hasher
	left        int64  // of Length
	onFirstByte func() // called with the first byte; nil after that
}

func newSource(b Body, h *oci.Hasher, first func()) *source {
	return &source{body: b, hasher: h, left: b.Length, onFirstByte: first}
}

// Read hashes what it returns. It returns no byte past the length.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.read(p)
	if n > 0 && s.onFirstByte != nil {
		s.onFirstByte()
		s.onFirstByte = nil
	}
	return n, err
}

func (s *source) read(p []byte) (int, error) {
	if s.body.Length < 0 {
		n, err := s.body.Bytes.Read(p)
		_, _ = s.hasher.Write(p[:n])
		return n, err
	}
	if s.left == 0 {
		return 0, s.expectEnd()
	}
	n, err := s.body.Bytes.Read(p[:min(int64(len(p)), s.left)])
	_, _ = s.hasher.Write(p[:n])
	s.left -= int64(n)
	if errors.Is(err, io.EOF) && s.left > 0 {
		err = wrongLength("shorter", s.body.Length)
	}
	return n, err
}

// expectEnd checks that the body ends here.
func (s *source) expectEnd() error {
	n, err := s.body.Bytes.Read(make([]byte, 1))
	if n > 0 {
		return wrongLength("longer", s.body.Length)
	}
	return err
}

// Mark is the hash state after the bytes read so far.
func (s *source) Mark() ([]byte, error) { return s.hasher.State(), nil }

// Interrupt ends a Read that waits for the client.
func (s *source) Interrupt() {
	if i, ok := s.body.Bytes.(blob.Interrupter); ok {
		i.Interrupt()
	}
}

func wrongLength(how string, want int64) error {
	return fault.New(fault.Invalid, fault.SizeInvalid, "body is %s than its declared length of %d bytes", how, want)
}

// bodyError is the error for a body that could not be read to its end. A client
// that is still connected may continue at the session's offset.
func bodyError(err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) && known.Kind != fault.TooSlow {
		return err
	}
	if known != nil {
		return fault.Wrap(err, fault.TooSlow, fault.BlobUploadInvalid, "%s; continue where the upload's status says", known.Message)
	}
	return fault.Wrap(err, fault.Invalid, fault.BlobUploadInvalid, "the body ended early; continue where the upload's status says")
}

// interruptible lets the blob store end a read that waits for the client.
func interruptible(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = interruptibleBody{ReadCloser: r.Body, w: w, http1: r.ProtoMajor == 1}
		next.ServeHTTP(w, r)
	})
}

type interruptibleBody struct {
	io.ReadCloser
	w     http.ResponseWriter
	http1 bool
}

// Interrupt makes the waiting read fail. It is best effort: on a connection
// without deadlines the read ends when the client sends or leaves.
//
// net/http takes the failed read as the client leaving. It ends the context of this
// request and, in HTTP/1, of all later ones on the connection: so there must be
// none.
func (b interruptibleBody) Interrupt() {
	if b.http1 {
		b.w.Header().Set("Connection", "close")
	}
	_ = http.NewResponseController(b.w).SetReadDeadline(time.Unix(1, 0))
}
