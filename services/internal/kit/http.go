package kit

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	kithttp "github.com/go-kit/kit/transport/http"

	"github.com/berth-registry/berth/pkg/boot/web"
)

// Handler serves the operation over HTTP. dec and enc may ask Request for the
// request itself. Authentication belongs before this handler, authorisation in
// an Access middleware of the operation.
//
// go-kit calls the error encoder when enc fails, so enc returns an error only
// while nothing is written; once the first byte may be out it ends with Stream
// or ServeContent. Do not pass kithttp.ServerFinalizer: its writer has no
// Unwrap and hides ReadFrom; package web counts bytes.
func Handler[Req, Resp any](
	o Op[Req, Resp],
	dec func(context.Context, *http.Request) (Req, error),
	enc func(context.Context, http.ResponseWriter, Resp) error,
	opts ...kithttp.ServerOption,
) http.Handler {
	opts = append([]kithttp.ServerOption{kithttp.ServerBefore(WithRequest)}, opts...)
	return kithttp.NewServer(
		o.Endpoint,
		func(ctx context.Context, r *http.Request) (any, error) { return dec(ctx, r) },
		func(ctx context.Context, w http.ResponseWriter, resp any) error { return enc(ctx, w, resp.(Resp)) },
		opts...,
	)
}

// Errors makes write the one function that answers the handler's errors.
func Errors(write func(http.ResponseWriter, *http.Request, error)) kithttp.ServerOption {
	return kithttp.ServerErrorEncoder(func(ctx context.Context, err error, w http.ResponseWriter) {
		write(w, Request(ctx), err)
	})
}

type requestKey struct{}

// WithRequest gives encoders the HTTP request, for handlers that call an operation
// themselves.
func WithRequest(ctx context.Context, r *http.Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// Request is the HTTP request that a Handler is serving. It panics outside of
// one.
func Request(ctx context.Context) *http.Request {
	return ctx.Value(requestKey{}).(*http.Request)
}

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
// sendfile. Content with a method WholeOnly that returns true is not served in ranges.
func ServeContent(ctx context.Context, log *slog.Logger, w http.ResponseWriter, content io.ReadSeeker) {
	r := Request(ctx)
	if w, ok := content.(interface{ WholeOnly() bool }); ok && w.WholeOnly() {
		r = r.Clone(ctx)
		r.Header.Del("Range") // the answer is the whole
	}
	out := &web.CountingWriter{ResponseWriter: w}
	http.ServeContent(out, r, "", time.Time{}, content)
	if r.Method == http.MethodHead || out.Status == http.StatusNotModified {
		return
	}
	Stream(ctx, log, func() error {
		if want, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64); err == nil && want != out.Sent {
			return &cutError{want: want, sent: out.Sent}
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
