package web

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/berth-registry/berth/pkg/boot/conns"
)

// The limits of every HTTP listener (contract rows A6 and A7). Bodies have no
// limit of time here, because uploads may take hours: Pace sets one by
// progress.
const (
	readHeaderTimeout    = 10 * time.Second
	idleTimeout          = 2 * time.Minute
	maxHeaderBytes       = 96 << 10 // a token request of 64 KiB, a token, a signed call
	maxConcurrentStreams = 250
)

// NewServer makes a server with the limits that every listener has. It speaks
// HTTP/1.1, and HTTP/2 where TLS negotiates it.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           tracked{h},
		ConnState:         trackState,
		ConnContext:       KeepConn,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxConcurrentStreams},
		// net/http would answer "OPTIONS *" with 200, for any host and past the middleware.
		DisableGeneralOptionsHandler: true,
		// What net/http says here is about broken clients.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

type connKey struct{}

// KeepConn is the ConnContext of a server: it lets the pace see how much the
// client of a connection takes. NewServer has it.
func KeepConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// takenFrom returns how to learn what the client of the request's connection has
// confirmed; nil where that cannot be known.
func takenFrom(ctx context.Context) func() (uint64, bool) {
	raw := rawConnOf(ctx)
	if raw == nil {
		return nil
	}
	if _, known := confirmed(raw); !known {
		return nil
	}
	return func() (uint64, bool) { return confirmed(raw) }
}

// rawConnOf returns the TCP connection of a request, also that below TLS; nil where it is
// none.
func rawConnOf(ctx context.Context) syscall.RawConn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// tracked tells the limits of connections what each of them does.
type tracked struct{ next http.Handler }

func (t tracked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := connOf(r.Context())
	c.Begin()
	defer c.End()
	t.next.ServeHTTP(w, r)
}

// trackState is the ConnState of a server.
func trackState(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateActive:
		conns.Of(c).SetActive(true)
	case http.StateIdle:
		conns.Of(c).SetActive(false)
	}
}

// connOf is the limited connection of a request; nil where it is not limited.
func connOf(ctx context.Context) *conns.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	if c == nil {
		return nil
	}
	return conns.Of(c)
}

// SharedConn is the connection of a request that may have many requests at a time,
// all of one client: HTTP/2, and not from a trusted proxy. Else it is nil.
func SharedConn(r *http.Request) *conns.Conn {
	if r.ProtoMajor < 2 {
		return nil
	}
	c := connOf(r.Context())
	if c == nil || c.IsProxy() {
		return nil
	}
	return c
}
