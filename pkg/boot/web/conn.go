package web

import (
	"context"
	"net"
	"syscall"
)

type connKey struct{}

// KeepConn is the ConnContext of a server: it lets the pace see how much the
// client of a connection takes. NewServer has it.
func KeepConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// takenFrom returns how to learn what the client of the request's connection has
// confirmed; nil where that cannot be known.
func takenFrom(ctx context.Context) func() (uint64, bool) {
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
	if _, known := confirmed(raw); !known {
		return nil
	}
	return func() (uint64, bool) { return confirmed(raw) }
}
