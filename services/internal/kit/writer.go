package kit

import (
	"io"
	"net/http"
)

// countingWriter counts the body and keeps all powers of the writer it wraps:
// http.ResponseController by Unwrap, sendfile by ReadFrom. go-kit's own, in
// ServerFinalizer, has neither.
type countingWriter struct {
	http.ResponseWriter
	status int
	sent   int64
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countingWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}

func (w *countingWriter) ReadFrom(src io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, src)
	w.sent += n
	return n, err
}
