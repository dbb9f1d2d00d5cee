package upload

import (
	"io"
	"net/http"
	"time"
)

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
// net/http takes the failed read for the client leaving and ends the context of
// this request and, in HTTP/1, of all later ones on the connection: so there
// must be none.
func (b interruptibleBody) Interrupt() {
	if b.http1 {
		b.w.Header().Set("Connection", "close")
	}
	_ = http.NewResponseController(b.w).SetReadDeadline(time.Unix(1, 0))
}
