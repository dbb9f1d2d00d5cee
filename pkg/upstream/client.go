package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/ttlcache"
)

// Client pulls from one upstream. Its methods return *Error, except
// fault.NameInvalid for an invalid name. It is safe for concurrent use.
type Client struct {
	owner  *Clients
	config Config
	limits limits
	ways   ways
	others []*Client // of Config.Alternatives
	spare  bool      // it is one of them
	base   *url.URL  // scheme and host
	auth   *authState
	guests *guests
	series series

	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	pace    *rate.Limiter
	// Each request holds a place: for a document until it is read, for a blob
	// until its body is closed.
	documents, blobs chan struct{}
	queued           atomic.Int64 // requests that wait for a place
	health           health
	budget           *budget
	headRefused      deadlines
	greetings        *ttlcache.Cache[url.URL, greeting] // by the URL of /v2/
	inside           atomic.Bool                        // the last response came from a network that is not public
}

func newClient(cs *Clients, cfg Config) (*Client, error) {
	base, err := baseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	l := cs.limits.with(cfg.Limits)
	c := &Client{
		owner:     cs,
		config:    cfg,
		limits:    l,
		base:      base,
		series:    cs.metrics.of(cfg.Tenant, cfg.Upstream),
		pace:      rate.NewLimiter(rate.Limit(l.rate), l.burst),
		documents: make(chan struct{}, l.documents),
		blobs:     make(chan struct{}, l.blobs),
	}
	if cfg.Limits.Requests > 0 {
		c.blobs = c.documents
	}
	if c.ways, err = cs.waysOf(cfg); err != nil {
		return nil, err
	}
	c.circuit = newCircuit(c)
	c.auth, c.guests = newAuthState(c, mostTokens), newGuests()
	c.greetings = newGreetings(c)
	c.budget = cs.budgets.of(c)
	for _, at := range cfg.Alternatives {
		other, err := newClient(cs, cfg.at(at))
		if err != nil {
			c.release()
			return nil, err
		}
		other.spare = true
		c.others = append(c.others, other)
	}
	return c, nil
}

// request is a request for a resource in a repository.
type request struct {
	method   string
	name     string
	path     string // below the repository: "manifests/latest"
	query    string
	accept   string
	missing  fault.Reason // the reason of a 404
	size     int64        // of a blob, in bytes; -1 if unknown, 0 for a document
	from     int64        // the first byte of a blob that is asked for
	limit    int64        // of the body, in bytes; 0 = none
	optional bool         // about an API that registries need not have
}

// header is sent to every host that the request comes to.
func (rq request) header(ctx context.Context) http.Header {
	h := hopHeader(ctx, rq.accept)
	if rq.from > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", rq.from))
	}
	return h
}

// Registries limit requests for manifests first, and redirect those for blobs.
const (
	kindManifests = "manifests"
	kindBlobs     = "blobs"
)

// kind is the kind of resource: "manifests", "blobs", "tags" or "referrers".
func (rq request) kind() string {
	kind, _, _ := strings.Cut(rq.path, "/")
	return kind
}

// treatAsNotFound turns the errors of registries without an optional API into a 404.
func (rq request) treatAsNotFound(err error) error {
	var e *Error
	if !rq.optional || !errors.As(err, &e) {
		return err
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
	default:
		if !e.elsewhere {
			return err
		}
	}
	excused := *e
	excused.Outcome, excused.reason = NotHere, rq.missing
	return &excused
}

// answer is a document with its response header.
type answer struct {
	method string // HEAD, or GET where that is refused
	header http.Header
	size   int64 // Content-Length; -1 when there was none
	body   []byte
}

// document fetches a whole document, a 200 without content encoding, and passes it
// to use, whose error it returns.
func (c *Client) document(ctx context.Context, rq request, use func(answer) error) error {
	permit, err := c.enter(ctx, c.documents, rq)
	if err != nil {
		return err
	}
	defer permit.leave()
	ctx, cancel := context.WithTimeoutCause(ctx, c.limits.answer, errSlow)
	defer cancel()
	resp, authenticated, err := c.exchange(ctx, rq)
	if err != nil {
		return permit.end(rq.treatAsNotFound(err))
	}
	var body []byte
	if rq.limit > 0 {
		if body, err = c.readAll(ctx, resp, rq.limit, permit); err != nil {
			return permit.end(err)
		}
	} else {
		discard(resp)
	}
	err = use(answer{method: resp.Request.Method, header: resp.Header, size: resp.ContentLength, body: body})
	if err == nil && authenticated && !isPage(resp.Header, body) {
		witnessed(ctx)
	}
	return permit.end(err)
}

// readAll reads and closes the body. A large document waits for a place among the
// large ones before most of it is read; t may be nil if limit is small.
func (c *Client) readAll(ctx context.Context, resp *http.Response, limit int64, t *permit) ([]byte, error) {
	defer resp.Body.Close()
	if resp.ContentLength > limit && resp.Request.Method != http.MethodHead {
		return nil, c.outage(nil, "sent an answer of more than %d bytes", limit)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, min(limit, largeDocument)+1))
	if err == nil && len(body) > largeDocument && limit > largeDocument {
		if err := t.large(ctx); err != nil {
			return nil, err
		}
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(resp.Body, limit+1-int64(len(body))))
		body = append(body, rest...)
	}
	switch {
	case err != nil:
		return nil, c.failed(ctx, err)
	case int64(len(body)) > limit:
		return nil, c.outage(nil, "sent an answer of more than %d bytes", limit)
	}
	return body, nil
}
