package admin

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc/stats"

	"github.com/berth-registry/berth/pkg/boot/conns"
)

// trackedConns tells the limits of connections what those over gRPC do. It is a
// stats.Handler.
type trackedConns struct {
	byAddress sync.Map // *conns.Conn by the client's address
}

// listen keeps what l accepts for TagConn, which gets addresses only.
func (t *trackedConns) listen(l net.Listener) net.Listener { return tracking{l, t} }

type tracking struct {
	net.Listener
	conns *trackedConns
}

// Accept is that of the listener.
func (t tracking) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if limited := conns.Of(c); limited != nil {
		key := c.RemoteAddr().String()
		t.conns.byAddress.Store(key, limited)
		limited.OnClose(func() { t.conns.byAddress.CompareAndDelete(key, limited) })
	}
	return c, nil
}

type connKey struct{}

// TagConn finds the connection of an address.
func (t *trackedConns) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	c, _ := t.byAddress.Load(info.RemoteAddr.String())
	limited, _ := c.(*conns.Conn)
	return context.WithValue(ctx, connKey{}, limited)
}

// HandleConn counts a handshake as a request: a client may connect before it calls.
func (t *trackedConns) HandleConn(ctx context.Context, s stats.ConnStats) {
	if _, began := s.(*stats.ConnBegin); began {
		c, _ := ctx.Value(connKey{}).(*conns.Conn)
		c.Begin()
		c.End()
	}
}

// TagRPC adds nothing.
func (t *trackedConns) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC counts the calls of a connection.
func (t *trackedConns) HandleRPC(ctx context.Context, s stats.RPCStats) {
	c, _ := ctx.Value(connKey{}).(*conns.Conn)
	switch s.(type) {
	case *stats.Begin:
		c.Begin()
	case *stats.End:
		if tooSlow(ctx) {
			c.Slow()
		}
		c.End()
	}
}
