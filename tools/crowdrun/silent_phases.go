package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/berth-registry/berth/tools/internal/server"
)

// stillness is how far a client gets before it falls silent.
type stillness struct {
	listener, phase string
	addr            string
	says            string
	short           bool // its bound is that of a header, 10 s
}

// silentPhases are those of all listeners that a server on a directory has. The internal
// one of a cluster is served as admin is, with the connections of data.
func silentPhases(s *server.Server) []stillness {
	var all []stillness
	for listener, addr := range map[string]string{"data": s.Data, "admin": s.Admin, "ops": s.Ops} {
		path := map[string]string{"data": "/token", "admin": "/v1/tenants", "ops": "/metrics"}[listener]
		all = append(all,
			stillness{listener, "connected", addr, "", true},
			stillness{listener, "half a header", addr, "GET / HTTP/1.1\r\nHost: localhost\r\nX-", true},
			stillness{listener, "half a body", addr, "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 8000\r\n\r\na", false},
			stillness{listener, "idle", addr, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", false},
			stillness{listener, "answers not read", addr, strings.Repeat("GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n", 20_000), false},
		)
	}
	return append(all,
		stillness{"admin_grpc", "connected", s.AdminGRPC, "", true},
		stillness{"admin_grpc", "half a preface", s.AdminGRPC, http2.ClientPreface[:10], true},
		stillness{"admin_grpc", "no call", s.AdminGRPC, frames(func(*http2.Framer) error { return nil }), false},
		stillness{"admin_grpc", "half a frame", s.AdminGRPC, frames(func(*http2.Framer) error { return nil }) + "\x00\x10\x00\x01\x04\x00\x00\x00\x01half", false},
		stillness{"admin_grpc", "half a message", s.AdminGRPC, frames(call), false},
	)
}

// frames is the beginning of a connection of HTTP/2.
func frames(then func(*http2.Framer) error) string {
	var text bytes.Buffer
	text.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&text, nil)
	_ = f.WriteSettings() // to memory
	_ = then(f)
	return text.String()
}

// call is one of which only a part of the message comes.
func call(f *http2.Framer) error {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", "/grpc.health.v1.Health/Check"},
		{":authority", "localhost"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	} {
		_ = enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}) // to memory
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
		return err
	}
	return f.WriteData(1, false, []byte{0, 0, 0, 0, 100, 1, 2})
}

// play opens a connection, falls silent, and waits until the server ends it, which it
// sees without reading.
func (p stillness) play(ctx context.Context, bound time.Duration) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return true // refused
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, p.says) }() // as much as the server takes
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(bound); time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			if over(conn) {
				return true
			}
		}
	}
	return false
}
