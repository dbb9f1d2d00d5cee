package front

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/ocihttp"
	"github.com/berth-registry/berth/services/internal/usage"
)

// A request is counted where its client is: by the process that it came to. What only another
// process knows, which answers it, comes with the answer.

// callUsage is what a call adds to the usage of its tenant.
type callUsage struct {
	counter *usage.Counter // nil: nothing is counted here
	cached  bool           // what is sent comes from a cache, and its upstream is not asked for it
	sent    int64          // bytes of content
	note    usageNote      // for the process that counts, if that is another one
}

// usageNote is what a process that answers a call knows of it.
type usageNote struct {
	Cached     bool  `json:"cached,omitempty"`
	Redirected int64 `json:"redirected,omitempty"` // bytes that the blob store sends
	Shared     int64 `json:"shared,omitempty"`     // bytes of a blob that the tenant had already
}

// usageHeader carries a usageNote to the calling process.
const usageHeader = "Berth-Internal-Usage"

// SetCached says that what is sent comes from a cache, and that its upstream is not asked for
// it. Call it, as the two below, before the header is sent.
func (c *Call) SetCached(h http.Header) {
	c.usage.note.Cached = true
	c.addUsage(h, usageNote{Cached: true})
}

// CountRedirect counts bytes that the blob store is about to send for the call.
func (c *Call) CountRedirect(h http.Header, n int64) {
	c.spendEgress(n)
	c.usage.note.Redirected = n
	c.addUsage(h, usageNote{Cached: c.usage.cached, Redirected: n})
}

// CountShared counts a blob of so many bytes that the call pushed or mounted, and that the
// tenant had already.
func (c *Call) CountShared(h http.Header, n int64) {
	c.usage.note.Shared = n
	c.addUsage(h, usageNote{Shared: n})
}

// addUsage counts what is noted here, or tells the calling process.
func (c *Call) addUsage(h http.Header, n usageNote) {
	if !c.internal {
		c.count(n)
		return
	}
	if text, err := json.Marshal(c.usage.note); err == nil {
		h.Set(usageHeader, string(text))
	}
}

// takeUsage counts what the answer of another process says. One that is itself another's
// answer keeps it.
func (c *Call) takeUsage(h http.Header) {
	text := h.Get(usageHeader)
	if text == "" || c.internal {
		return
	}
	h.Del(usageHeader)
	var n usageNote
	if json.Unmarshal([]byte(text), &n) == nil {
		c.count(n)
	}
}

func (c *Call) count(n usageNote) {
	c.usage.cached = c.usage.cached || n.Cached
	u := c.usage.counter
	if u == nil {
		return
	}
	add(&u.SharingSaved, n.Shared)
	add(&u.Egress, n.Redirected)
	if c.usage.cached {
		add(&u.CacheSaved, n.Redirected)
	}
}

func add(to *atomic.Int64, n int64) {
	if n != 0 {
		to.Add(n)
	}
}

// followSent has what is sent for the call counted, and slowed to what may be sent.
func (c *Call) followSent(ctx context.Context, method string) {
	counts := c.usage.counter != nil && method == http.MethodGet && c.isContent()
	if !counts && len(c.egress) == 0 {
		return
	}
	web.OnSent(ctx, func(n int64) time.Duration {
		if counts {
			c.countSent(web.Status(ctx), n)
		}
		return c.spendEgress(n)
	})
}

// countSent counts bytes of an answer; those of refusals are not counted.
func (c *Call) countSent(status int, n int64) {
	if status != http.StatusOK && status != http.StatusPartialContent {
		return
	}
	c.usage.sent += n
	c.usage.counter.Egress.Add(n)
	if c.usage.cached {
		c.usage.counter.CacheSaved.Add(n)
	}
}

// followReceived has what the client sends to push counted, if it may push.
func (c *Call) followReceived(r *http.Request) {
	isManifest := c.Route.Kind == ocihttp.Manifest && r.Method == http.MethodPut
	if c.usage.counter != nil && r.Body != nil && r.Body != http.NoBody && (c.uploadsBlob(r.Method) || isManifest && c.mayPush()) {
		r.Body = countedBody{r.Body, c.usage.counter}
	}
}

type countedBody struct {
	io.ReadCloser
	counter *usage.Counter
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	add(&b.counter.Received, int64(n))
	return n, err
}

// finishUsage counts what is known when the call ends. A client that left before the end has
// pulled, too; what it had not confirmed is taken off.
func (c *Call) finishUsage(r *http.Request) {
	u := c.usage.counter
	if u == nil {
		return
	}
	if c.Route.Kind == ocihttp.Manifest {
		switch status := web.Status(r.Context()); {
		case r.Method == http.MethodGet && status == http.StatusOK:
			u.Pulls.Add(1)
		case r.Method == http.MethodPut && status == http.StatusCreated:
			u.Pushes.Add(1)
		}
	}
	if c.usage.sent == 0 {
		return
	}
	lost := min(web.Unconfirmed(r.Context()), c.usage.sent)
	add(&u.Egress, -lost)
	if c.usage.cached {
		add(&u.CacheSaved, -lost)
	}
}
