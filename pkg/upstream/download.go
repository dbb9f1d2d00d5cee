package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/ocihttp"
)

// Download gets one blob in as many requests as that takes: after a connection broke,
// the next request asks for the rest (contract row T20). It is not safe for concurrent
// use.
type Download struct {
	client    *Client
	request   request
	etag      string // of the last response; empty if unknown
	restarted bool   // a response that did not fit made it start from byte 0

	others []*Download // from Config.Alternatives
}

// Download begins the download of a blob; size is in bytes, negative if the caller
// does not know it.
func (c *Client) Download(name string, d oci.Digest, size int64) *Download {
	down := &Download{client: c, request: request{
		method: http.MethodGet, name: name, path: "blobs/" + d.String(), missing: fault.BlobUnknown, size: max(size, -1),
	}}
	for _, other := range c.others {
		down.others = append(down.others, other.Download(name, d, size))
	}
	return down
}

// Blob gets a blob from its first byte, like Download.
func (c *Client) Blob(ctx context.Context, name string, d oci.Digest, size int64) (*Body, error) {
	return c.Download(name, d, size).Open(ctx, 0)
}

// Open gets the blob from a byte on. It asks the registry, not the host that an earlier
// request was redirected to: the signed URL may have expired. Body.From is 0 instead
// if the upstream ignores ranges. It is also 0, once for a download, if the upstream refuses the
// range, or sends a part of something else: another ETag, another size, encoded. The caller
// then skips what it has. ctx must last until the body is closed.
func (d *Download) Open(ctx context.Context, from int64) (*Body, error) {
	if err := oci.CheckName(d.request.name); err != nil {
		return nil, err
	}
	return inOrder(ctx, d, d.others, func(d *Download) (*Body, error) { return d.openAt(ctx, from) })
}

// openAt is Open by one URL. ETags of different URLs are not compared.
func (d *Download) openAt(ctx context.Context, from int64) (*Body, error) {
	d.request.from = from
	body, err := d.open(ctx)
	if from == 0 || d.restarted || !refusesRange(err) {
		return body, err
	}
	d.request.from, d.etag = 0, ""
	if body, err = d.open(ctx); err == nil {
		d.restarted = true
	}
	return body, err
}

func (d *Download) open(ctx context.Context) (*Body, error) {
	c := d.client
	permit, err := c.enter(ctx, c.blobs, d.request)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	slow := time.AfterFunc(c.limits.answer, func() { cancel(errSlow) })
	resp, _, err := c.exchange(ctx, d.request)
	var from, size int64
	if err == nil {
		if from, size, err = d.accept(resp); err != nil {
			_ = resp.Body.Close()
		}
	}
	if err == nil && !slow.Stop() {
		_ = resp.Body.Close()
		err = c.failed(ctx, errSlow)
	}
	if err = permit.end(err); err != nil {
		slow.Stop()
		cancel(errClosed)
		permit.leave()
		return nil, err
	}
	return &Body{
		Size: size, From: from, client: c, ctx: ctx, cancel: cancel, permit: permit, body: resp.Body, slow: slow, read: from,
	}, nil
}

// accept checks that the response belongs to the download, and returns its first byte
// and the size of the blob.
func (d *Download) accept(resp *http.Response) (int64, int64, error) {
	c, size, from := d.client, resp.ContentLength, int64(0)
	etag := strings.TrimPrefix(resp.Header.Get("Etag"), "W/") // some hosts weaken it when they compress
	if resp.StatusCode == http.StatusPartialContent {
		from, etag = d.request.from, cmp.Or(etag, d.etag)
		var problem string
		if size, problem = partOf(resp, d.request); problem == "" && !d.restarted && d.etag != "" && etag != d.etag {
			problem = "another ETag than before"
		}
		if problem != "" {
			return 0, 0, c.outage(errRange, "sent a part of a blob with %s", problem)
		}
	}
	known := d.request.size
	switch {
	case known >= 0 && size >= 0 && size != known:
		return 0, 0, c.outage(errSize, "has a blob of %d bytes where its manifest says %d", size, known)
	case known < 0:
		d.request.size = size // for the next response
	default:
		size = known
	}
	d.etag = etag
	return from, size, nil
}

// errRange is the cause for a part that is not the requested one.
var errRange = errors.New("not the requested range")

// partOf returns the size of the whole that a 206 has a part of, or what is wrong with
// the part. It may end early.
func partOf(resp *http.Response, rq request) (int64, string) {
	said := resp.Header.Get("Content-Range")
	start, end, size, ok := ocihttp.ParsePartRange(said)
	if size < 0 && end+1 == rq.size {
		size = rq.size // "*": it is the end that was asked for
	}
	length := resp.ContentLength
	switch {
	case !ok:
		return 0, fmt.Sprintf("Content-Range %.100q", said)
	case start != rq.from, size < 0, rq.size >= 0 && size != rq.size:
		return 0, fmt.Sprintf("Content-Range %.100q, not from byte %d of %d", said, rq.from, rq.size)
	case length >= 0 && length != end+1-start:
		return 0, fmt.Sprintf("Content-Range %.100q and Content-Length %d", said, length)
	}
	// Where the content itself is gzip, some hosts declare that as its encoding. The
	// lengths show that it is the blob (contract row T8).
	switch coding := strings.ToLower(resp.Header.Get("Content-Encoding")); {
	case coding == "", coding == "identity", rq.size >= 0 && length >= 0:
		return size, ""
	default:
		return 0, fmt.Sprintf("Content-Encoding %.100q", coding)
	}
}

// refusesRange reports whether a request without Range may succeed. Some firewalls
// refuse ranges as they refuse HEAD.
func refusesRange(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Status {
	case http.StatusRequestedRangeNotSatisfiable, http.StatusPreconditionFailed:
		return true
	case http.StatusUnauthorized:
		return false
	default:
		return refusesHead(e.Status) || errors.Is(err, errRange) || errors.Is(err, errSize)
	}
}
