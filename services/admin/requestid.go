package admin

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/berth-registry/berth/pkg/boot/logs"
	"github.com/berth-registry/berth/pkg/boot/web"
)

// headerRequestID carries the id of a REST request to the gRPC side of it.
const headerRequestID = "x-request-id"

// headerClient carries the address of its client.
const headerClient = "x-berth-client"

// clientAddress is the address that the call came from, empty where it is not
// known. Only the gateway, through the pipe, and trusted proxies can name another than
// the peer's.
func clientAddress(ctx context.Context) string {
	return web.AddrText(client(ctx))
}

func client(ctx context.Context) netip.Addr {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return netip.Addr{}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if p.Addr.Network() == pipeNetwork {
		if v := md.Get(headerClient); len(v) == 1 {
			a, _ := netip.ParseAddr(v[0]) // the zero Addr where it is none
			return a
		}
		return netip.Addr{}
	}
	at, err := netip.ParseAddrPort(p.Addr.String())
	if err != nil {
		return netip.Addr{}
	}
	proxies, _ := ctx.Value(proxiesKey{}).([]netip.Prefix)
	return web.ClientBehind(at.Addr().Unmap(), proxies, md.Get("x-forwarded-for"))
}

// headerUserAgent carries what the client says of itself. It may be any text, which
// only a header of this ending may hold.
const headerUserAgent = "x-berth-user-agent-bin"

// userAgent is what the client says of itself, clipped.
func userAgent(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	header := "user-agent"
	if p.Addr.Network() == pipeNetwork {
		header = headerUserAgent
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get(header); len(v) > 0 {
		return web.ClipUserAgent(v[0])
	}
	return ""
}

type proxiesKey struct{}

type requestIDKey struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// withRequestID gives the call an id: the gateway's, which comes through the
// pipe, or a new one. No other client can choose theirs, and forge another
// request's lines in the log.
func withRequestID(ctx context.Context) context.Context {
	if p, ok := peer.FromContext(ctx); ok && p.Addr.Network() == pipeNetwork {
		md, _ := metadata.FromIncomingContext(ctx)
		if v := md.Get(headerRequestID); len(v) == 1 {
			return context.WithValue(ctx, requestIDKey{}, v[0]) // logged by the front already
		}
	}
	id := rand.Text()
	return logs.With(context.WithValue(ctx, requestIDKey{}, id), slog.String("request_id", id))
}
