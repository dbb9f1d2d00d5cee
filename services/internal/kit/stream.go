package kit

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// Stream runs write, which sends a body. A failure is logged and aborts the
// connection, so that the client sees a broken answer and never a complete but
// wrong one. It does not return an error because go-kit would then write an
// error body behind the bytes already sent.
func Stream(ctx context.Context, log *slog.Logger, write func() error) {
	if err := write(); err != nil {
		log.WarnContext(ctx, "the response was cut off", "error", err)
		panic(http.ErrAbortHandler)
	}
}

// ServeContent is http.ServeContent (Range, If-Range, If-None-Match against the
// ETag that is set) with Stream's promise: http.ServeContent swallows read
// errors, so what was sent is held against the Content-Length it announced.
// content's own type reaches the connection, so that a file goes out by
// sendfile.
func ServeContent(ctx context.Context, log *slog.Logger, w http.ResponseWriter, content io.ReadSeeker) {
	r := Request(ctx)
	out := &countingWriter{ResponseWriter: w}
	http.ServeContent(out, r, "", time.Time{}, content)
	if r.Method == http.MethodHead || out.status == http.StatusNotModified {
		return
	}
	Stream(ctx, log, func() error {
		if want, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64); err == nil && want != out.sent {
			return &cutError{want: want, sent: out.sent}
		}
		return nil
	})
}

// ServeBytes is http.ServeContent for what is in memory. It goes out in one
// write: handed on by ReadFrom, net/http would send header and body apart.
func ServeBytes(ctx context.Context, w http.ResponseWriter, body []byte) {
	http.ServeContent(struct{ http.ResponseWriter }{w}, Request(ctx), "", time.Time{}, bytes.NewReader(body))
}

type cutError struct{ want, sent int64 }

func (e *cutError) Error() string {
	return "sent " + strconv.FormatInt(e.sent, 10) + " of " + strconv.FormatInt(e.want, 10) + " bytes"
}
