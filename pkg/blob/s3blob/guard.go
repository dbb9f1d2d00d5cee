package s3blob

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/middleware"
)

// slowest is the rate in bytes per second below which a transfer counts as
// stalled (fault R30).
const slowest = 4 << 10

// stalledError ends a request that makes no progress.
type stalledError struct{}

func (stalledError) Error() string { return "the store makes no progress" }

// Timeout says that another try may help.
func (stalledError) Timeout() bool { return true }

// guard ends requests that make no progress, each try for itself.
type guard struct {
	client   aws.HTTPClient
	stall    time.Duration
	patience time.Duration
	observe  func(operation string, took time.Duration, status int) // see Options
}

// Do sends a request and watches it, and its response while it is read.
func (g guard) Do(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	window := g.stall
	if req.Method == http.MethodPost && req.URL.Query().Has("uploadId") {
		window = g.patience // it puts an object together, of any size
	}
	sent := &atomic.Int64{}
	w := watch(window, sent, cancel)
	req = req.WithContext(ctx)
	if req.Body != nil && req.ContentLength > 0 {
		req.Body = &countedBody{ReadCloser: req.Body, n: sent}
	}
	began := time.Now()
	resp, err := g.client.Do(req)
	w.stop()
	if g.observe != nil {
		status := 0
		if err == nil {
			status = resp.StatusCode
		}
		g.observe(middleware.GetOperationName(ctx), time.Since(began), status)
	}
	if err != nil {
		if _, stalled := context.Cause(ctx).(stalledError); stalled { //nolint:errorlint // it is ours, as it was given
			err = stalledError{}
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &watchedBody{ReadCloser: resp.Body, window: g.stall, cancel: cancel}
	return resp, nil
}

// least is how many bytes have to move in a window.
func least(window time.Duration) int64 { return int64(window.Seconds() * slowest) }

// watcher ends a transfer in whose window too little moved.
type watcher struct {
	timer *time.Timer
	done  atomic.Bool
}

func watch(window time.Duration, moved *atomic.Int64, cancel context.CancelCauseFunc) *watcher {
	w := &watcher{}
	var before int64
	ready := make(chan struct{})
	w.timer = time.AfterFunc(window, func() {
		<-ready
		now := moved.Load()
		if w.done.Load() {
			return
		}
		if now-before < least(window) {
			cancel(stalledError{})
			return
		}
		before = now
		w.timer.Reset(window)
	})
	close(ready)
	return w
}

func (w *watcher) stop() {
	w.done.Store(true)
	w.timer.Stop()
}

// countedBody counts the bytes of a request as they are sent.
type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// watchedBody ends a response that makes no progress. Only the time in
// which a reader waits for it counts.
type watchedBody struct {
	io.ReadCloser
	window time.Duration
	cancel context.CancelCauseFunc

	waited time.Duration
	moved  int64
}

func (b *watchedBody) Read(p []byte) (int, error) {
	timer := time.AfterFunc(b.window, func() { b.cancel(stalledError{}) })
	start := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.waited += time.Since(start)
	if !timer.Stop() && err != nil {
		return n, stalledError{}
	}
	b.moved += int64(n)
	if b.waited > b.window {
		if b.moved < least(b.window) && err == nil {
			err = stalledError{}
		}
		b.waited, b.moved = 0, 0
	}
	return n, err
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
