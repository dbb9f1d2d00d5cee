package upstream

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// Body is a blob in flight, or the rest of one. Its bytes are not verified: the reader
// computes the digest. Read returns io.EOF only after exactly the announced length, and
// *Error for any other length or a slow upstream. The time between reads does not count.
// Close it; it is not safe for concurrent use.
type Body struct {
	Size int64 // of the whole blob, in bytes; -1 when neither the caller nor the upstream knows it
	From int64 // its first byte

	client *Client
	ctx    context.Context
	cancel context.CancelCauseFunc
	permit *permit
	body   io.ReadCloser
	slow   *time.Timer // ends the request

	read   int64         // up to this byte of the blob
	window int64         // bytes in the present window
	spent  time.Duration // of reading, in the present window
	err    error
	closed bool
}

var (
	errClosed = errors.New("the body is closed")
	errSize   = errors.New("wrong size")
)

// HasBlob asks for the size of a blob in bytes; -1 when the upstream has the blob
// but does not say its size.
func (c *Client) HasBlob(ctx context.Context, name string, d oci.Digest) (int64, error) {
	return anywhere(ctx, c, func(c *Client) (int64, error) { return c.hasBlob(ctx, name, d) })
}

func (c *Client) hasBlob(ctx context.Context, name string, d oci.Digest) (int64, error) {
	if err := oci.CheckName(name); err != nil {
		return 0, err
	}
	var size int64
	err := c.document(ctx, request{
		method: http.MethodHead, name: name, path: "blobs/" + d.String(), missing: fault.BlobUnknown, size: -1,
	}, func(a answer) error {
		if size = a.size; isPage(a.header, nil) {
			return c.outage(nil, "sent a page for a blob")
		}
		return nil
	})
	return size, err
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.timed(p)
	b.read += int64(n)
	limit := b.Size
	if limit < 0 {
		limit = maxUnsized
	}
	switch {
	case b.read > limit:
		n -= int(b.read - limit)
		err = b.client.outage(errSize, "sent more than the %d bytes of a blob", limit)
	case errors.Is(err, io.EOF) && b.Size >= 0 && b.read < b.Size:
		err = b.client.outage(io.ErrUnexpectedEOF, "ended a blob early")
	case err != nil && !errors.Is(err, io.EOF):
		e := b.client.failed(b.ctx, err)
		if e.broken && !e.Timeout {
			e = b.client.outage(err, "ended a blob early")
		}
		err = e
	}
	if b.err = err; err != nil {
		var e *Error
		if errors.As(err, &e) {
			b.client.health.saw(e, b.permit.kind, time.Now())
		}
	}
	return n, err
}

// timed reads, and ends the request if the present window lasts too long. A trickle
// of bytes would hold a place for hours (contract E13).
func (b *Body) timed(p []byte) (int, error) {
	limits := b.client.limits
	start := time.Now()
	b.slow.Reset(limits.window - b.spent)
	n, err := b.body.Read(p)
	b.slow.Stop()
	b.spent += time.Since(start)
	if b.window += int64(n); b.window >= limits.windowBytes {
		b.window, b.spent = 0, 0
	}
	return n, err
}

// Close ends the transfer, finished or not, and frees its place. It never fails.
func (b *Body) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	if b.err == nil {
		b.err = errClosed
	}
	b.cancel(errClosed)
	_ = b.body.Close()
	b.permit.leave()
	return nil
}

// decode removes the gzip encoding that some hosts add unasked. Others declare it only
// because the content itself is gzip: a body that is not gzip, and a blob of the
// expected length, stay as they are (contract row T8). size is that of a blob, -1 if
// unknown; 0 for a document, which is never gzip.
func (c *Client) decode(resp *http.Response, size int64) error {
	switch strings.ToLower(resp.Header.Get("Content-Encoding")) {
	case "", "identity":
		return nil
	case "gzip", "x-gzip":
	default:
		_ = resp.Body.Close()
		return c.outage(nil, "sent an answer in an encoding that was not asked for")
	}
	if resp.Request.Method == http.MethodHead {
		resp.ContentLength = -1 // it may be that of the gzip
		return nil
	}
	if length := resp.ContentLength; size != 0 && length >= 0 && (size < 0 || length == size) {
		return nil
	}
	body := bufio.NewReader(resp.Body)
	start, _ := body.Peek(len(gzipMagic))
	isGzip := bytes.Equal(start, gzipMagic)
	if isGzip && size != 0 && resp.ContentLength < 0 {
		start, _ = body.Peek(peeked)
		isGzip = isEncoding(start)
	}
	if !isGzip {
		resp.Body = readCloser{body, resp.Body}
		return nil
	}
	plain, err := gzip.NewReader(body)
	if err != nil {
		_ = resp.Body.Close()
		return c.outage(err, "sent an answer that is no gzip, and says that it is one")
	}
	resp.Body, resp.ContentLength = readCloser{plain, resp.Body}, -1
	return nil
}

type readCloser struct {
	io.Reader
	io.Closer
}
