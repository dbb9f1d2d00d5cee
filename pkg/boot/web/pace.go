package web

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/boot/conns"
)

// Pace limits how slow a client may be (contract rows A7 and Q1 to Q5). A request
// has no time limit, since an upload may take hours. Waiting for the client adds to
// a debt, which each transferred byte reduces; a request with too much debt ends.
// The zero value means the defaults.
type Pace struct {
	Grace  time.Duration // how long a client may transfer nothing; default 30 s
	Bound  time.Duration // sum of all waits of a request, for its body and its response; default 45 s
	Pause  time.Duration // how long a transfer may pause, instead of Grace and Bound; default 5 min
	MinIn  int64         // minimum bytes per second of a request body; default 1 KiB
	MinOut int64         // minimum bytes per second of a response; default 16 KiB
}

func (p Pace) orDefault() Pace {
	if p.Grace == 0 {
		p.Grace = 30 * time.Second
	}
	if p.Bound == 0 {
		p.Bound = 45 * time.Second // with the header and the end, which are not counted, a minute
	}
	if p.Pause == 0 {
		p.Pause = 5 * time.Minute
	}
	if p.MinIn == 0 {
		p.MinIn = 1 << 10
	}
	if p.MinOut == 0 {
		p.MinOut = 16 << 10
	}
	return p
}

// rest is how long the end of a request may take after it was waited for that long:
// what is buffered of the answer, and what the handler has not read of the body. It
// is little, and of a client that sent many requests and reads no answers it comes
// after all that the kernel took for it, so it has half of Grace.
func (p Pace) rest(waited time.Duration) time.Duration {
	return max(min(p.Grace/2, p.Bound-waited), p.Grace/10)
}

// Wrap puts p before h, for listeners without Middleware. Nothing there is a
// transfer.
func (p Pace) Wrap(h http.Handler) http.Handler {
	return pacer{p.orDefault(), NewPauses(PauseLimits{}, nil), h}
}

// AllowPause makes the request a transfer of the tenant: an upload into a session
// that holds bytes, or a blob being read. It may pause for Pace.Pause, unless too
// many of the tenant do. Outside of Middleware it does nothing.
func AllowPause(ctx context.Context, tenant int64) {
	if r := requestOf(ctx); r != nil && r.pace != nil {
		r.pace.in.lift(tenant)
		r.pace.out.lift(tenant)
		r.pace.beginTransfer()
	}
}

// EndPause ends AllowPause for the body of a request whose response is sent: the
// rest of the body has the limits of any other request.
func EndPause(ctx context.Context) {
	if r := requestOf(ctx); r != nil && r.pace != nil {
		r.pace.in.lower()
		r.pace.endTransfer()
	}
}

// TooSlow reports that the request's body was ended because its client was too
// slow. It is for handlers that lose the error of a Read.
func TooSlow(ctx context.Context) bool {
	r := requestOf(ctx)
	return r != nil && r.pace != nil && r.pace.in.ended() != nil
}

// OnSent has sent called with the number of bytes of the response that the system took for the
// client, after each part; the next part waits for as long as it returns. Call it from the
// handler's own goroutine; outside of Middleware it does nothing.
func OnSent(ctx context.Context, sent func(n int64) time.Duration) {
	if r := requestOf(ctx); r != nil && r.pace != nil {
		r.pace.sent = sent
	}
}

// Unconfirmed is how many bytes the system took for a client whose connection broke, and that the
// client has not confirmed: they were not received. It is 0 while the connection works, also for
// a client that only sends no more, and where the system does not tell. It is known of what is
// sent by sendfile: after another write that failed, net/http has closed the connection; and
// streams of HTTP/2 share theirs.
func Unconfirmed(ctx context.Context) int64 {
	r := requestOf(ctx)
	if r == nil || r.pace == nil || r.pace.http2 || !r.pace.broken && ctx.Err() == nil {
		return 0
	}
	raw := rawConnOf(ctx)
	if raw == nil || !r.pace.broken && !isReset(raw) {
		return 0
	}
	return unconfirmed(raw)
}

// pacing is both directions of one request.
type pacing struct {
	in, out clock
	waited  atomic.Int64 // nanoseconds, in both
	conn    *conns.Conn  // nil where it is not limited

	transfer atomic.Bool // counted as one of the connection

	sent   func(n int64) time.Duration // nil where nothing is told of what is sent
	http2  bool
	broken bool // a part of the response could not be sent
}

func (s *pacing) beginTransfer() {
	if s.transfer.CompareAndSwap(false, true) {
		s.conn.BeginTransfer()
	}
}

func (s *pacing) endTransfer() {
	if s.transfer.CompareAndSwap(true, false) {
		s.conn.EndTransfer()
	}
}

// ended reports whether one direction was ended.
func (s *pacing) ended() bool { return s.in.ended() != nil || s.out.ended() != nil }

// Stalled is for conns.Waiter.
func (s *pacing) Stalled(now time.Time) time.Duration { return max(s.in.owed(now), s.out.owed(now)) }

// Stuck is for conns.Waiter. A request whose body was ended is not stuck: it may
// still respond.
func (s *pacing) Stuck(now time.Time) time.Duration { return s.out.endedFor(now) }

type pacer struct {
	Pace
	pauses *Pauses
	next   http.Handler
}

func (p pacer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn := http.NewResponseController(w)
	http2 := r.ProtoMajor >= 2
	s := &pacing{
		in:    clock{pace: p.Pace, rate: p.MinIn, pauses: p.pauses},
		out:   clock{pace: p.Pace, rate: p.MinOut, pauses: p.pauses},
		conn:  connOf(r.Context()),
		http2: http2,
	}
	s.in.waited, s.out.waited = &s.waited, &s.waited
	// A ResponseWriter that knows no deadlines is not a connection.
	s.in.expire = func() { s.conn.GiveUp(); _ = conn.SetReadDeadline(expired) }
	s.out.expire = func() { s.conn.GiveUp(); _ = conn.SetWriteDeadline(expired) }
	if !http2 {
		s.out.taken = takenFrom(r.Context())
	}
	out := &pacedWriter{ResponseWriter: w, clock: &s.out, request: s, ctx: r.Context(), http2: http2}
	in := &pacedBody{ReadCloser: r.Body, clock: &s.in, set: conn.SetReadDeadline}
	hasBody := r.Body != nil && r.Body != http.NoBody
	if hasBody {
		r.Body = in
	}
	if req := requestOf(r.Context()); req != nil {
		req.pace = s
	}
	if !http2 {
		// The connection may still have the deadline of its last request, under
		// which net/http could not even write "100 Continue".
		_ = conn.SetWriteDeadline(time.Time{})
		if hasBody {
			in.arm(p.Grace / 2) // so that the answer, which waits for it, has some left
		}
	}
	s.conn.AddWaiter(s)
	defer s.conn.RemoveWaiter(s)
	defer s.endTransfer()
	// Deferred: what net/http does after the handler has a deadline too. It
	// writes what is buffered and reads what the handler left of the body.
	defer func() {
		s.in.close()
		s.out.close()
		rest := time.Now().Add(p.rest(time.Duration(s.waited.Load())))
		if s.out.ended() == nil {
			_ = conn.SetWriteDeadline(rest)
		}
		if hasBody && !in.atEnd && s.in.ended() == nil {
			_ = conn.SetReadDeadline(rest)
		}
		if s.ended() {
			s.conn.Slow()
		}
	}()
	p.next.ServeHTTP(out, r)
	out.finish(conn)
}

// expired is a deadline that has passed.
var expired = time.Unix(1, 0)
