package kit

import (
	"io"
	"net/http"
)

// Writer counts what a handler sends and keeps all powers of the writer it
// wraps: http.ResponseController by Unwrap, sendfile by ReadFrom.
type Writer struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// NewWriter wraps w.
func NewWriter(w http.ResponseWriter) *Writer { return &Writer{ResponseWriter: w} }

// Status is the status sent; 200 when the handler has not said another.
func (w *Writer) Status() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// Bytes is the length of the body handed to the connection so far.
func (w *Writer) Bytes() int64 { return w.bytes }

// Started says whether the status line is out, so that nothing else can be
// answered any more.
func (w *Writer) Started() bool { return w.status != 0 }

// Unwrap is for http.ResponseController.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader remembers the first final status.
func (w *Writer) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts.
func (w *Writer) Write(p []byte) (int, error) {
	w.status = w.Status()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom hands src to the wrapped writer as it is: a file, or a limited part
// of one, goes from disk to socket without passing through this process.
func (w *Writer) ReadFrom(src io.Reader) (int64, error) {
	w.status = w.Status()
	n, err := io.Copy(w.ResponseWriter, src)
	w.bytes += n
	return n, err
}
