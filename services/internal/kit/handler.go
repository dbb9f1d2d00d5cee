package kit

import (
	"context"
	"net/http"

	kithttp "github.com/go-kit/kit/transport/http"
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
