package web

import (
	"io"
	"net/http"
)

// CountingWriter sees the status and counts the bytes of the body. It keeps all
// powers of the writer it wraps: sendfile by ReadFrom, http.ResponseController by
// Unwrap.
type CountingWriter struct {
	http.ResponseWriter
	Status int   // 0 = none yet
	Sent   int64 // bytes of the body
}

// WriteHeader implements http.ResponseWriter.
func (w *CountingWriter) WriteHeader(status int) {
	// 1xx answers come before the one that counts.
	if w.Status == 0 && status >= http.StatusOK {
		w.Status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *CountingWriter) Write(p []byte) (int, error) {
	w.implicitOK()
	n, err := w.ResponseWriter.Write(p)
	w.Sent += int64(n)
	return n, err
}

// ReadFrom passes the source on, so that a file is sent by sendfile.
func (w *CountingWriter) ReadFrom(src io.Reader) (int64, error) {
	w.implicitOK()
	n, err := readFrom(w.ResponseWriter, src)
	w.Sent += n
	return n, err
}

func (w *CountingWriter) implicitOK() {
	if w.Status == 0 {
		w.Status = http.StatusOK
	}
}

// Unwrap is for http.ResponseController.
func (w *CountingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// readFrom copies src into w by w's own ReadFrom, if it has one. io.Copy would
// try src's WriteTo first, which for a file ends in the same place by a detour.
func readFrom(w http.ResponseWriter, src io.Reader) (int64, error) {
	if rf, ok := w.(io.ReaderFrom); ok {
		return rf.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{w}, src)
}

// countingBody counts the bytes of a request.
type countingBody struct {
	io.ReadCloser
	n int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	return n, err
}
