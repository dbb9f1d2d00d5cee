package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/berth-registry/berth/tools/internal/server"
)

// stillness is how far a client gets before it falls silent.
type stillness struct {
	listener, phase string
	addr            string
	says            string
	again           string // what it says every second from then on
	protocol        string // that TLS negotiates; empty without TLS
	short           bool   // its bound is that of a header, 10 s
}

// silentPhases are those of all listeners that a server on a directory has.
func silentPhases(s *server.Server) []stillness {
	return slices.Concat(
		http1Phases("data", s.Data, "localhost", "/token", silentLarge, ""),
		http1Phases("admin", s.Admin, "localhost", "/v1/tenants", "/openapi.json", ""),
		http1Phases("ops", s.Ops, "localhost", "/metrics", "/metrics", ""),
		[]stillness{
			{listener: "admin_grpc", phase: "connected", addr: s.AdminGRPC, short: true},
			{listener: "admin_grpc", phase: "half a preface", addr: s.AdminGRPC, says: http2.ClientPreface[:10], short: true},
			{listener: "admin_grpc", phase: "no call", addr: s.AdminGRPC, says: frames(noFrame)},
			{listener: "admin_grpc", phase: "pings", addr: s.AdminGRPC, says: frames(noFrame), again: pingFrame()},
			{listener: "admin_grpc", phase: "half a frame", addr: s.AdminGRPC, says: frames(noFrame) + halfFrame},
			{listener: "admin_grpc", phase: "half a message", addr: s.AdminGRPC, says: frames(halfMessage)},
			{listener: "admin_grpc", phase: "answers not read", addr: s.AdminGRPC, says: frames(manyCalls)},
		},
	)
}

// tlsPhases are those of the data listener with TLS, and of the internal one.
func tlsPhases(s *server.Server, host string) []stillness {
	all := slices.Concat(http1Phases("internal", s.Internal, "localhost", "/token", "/token", ""), http1Phases("data", s.Data, host, "/token", silentLarge, "http/1.1"), []stillness{
		{listener: "data", phase: "no hello", addr: s.Data, short: true},
		{listener: "data", phase: "half a hello", addr: s.Data, says: "\x16\x03\x01\x02\x00\x01", short: true},
	})
	for phase, says := range map[string]string{
		"no preface":         "",
		"no request":         frames(noFrame),
		"half a frame":       frames(noFrame) + halfFrame,
		"half a header":      frames(halfHeader),
		"no end of a body":   frames(noEnd),
		"no end of bodies":   frames(noEnds),
		"a window of zero":   frames(noWindow),
		"answers not read":   frames(manyRequests(host)),
		"idle":               frames(request(http.MethodGet, 1, true)),
		"idle, and it pings": frames(request(http.MethodGet, 1, true)),
	} {
		p := stillness{listener: "data", phase: "HTTP/2: " + phase, addr: s.Data, says: says, protocol: "h2", short: says == ""}
		if strings.Contains(phase, "pings") {
			p.again = pingFrame()
		}
		all = append(all, p)
	}
	return all
}

func http1Phases(listener, addr, host, path, large, protocol string) []stillness {
	of := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n" }
	get := of(path)
	post := "POST " + path + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 8000\r\n\r\na"
	all := []stillness{
		{phase: "connected", short: true},
		{phase: "half a header", says: get[:len(get)-8], short: true},
		{phase: "a header byte by byte", says: get[:len(get)-2] + "X-", again: "a", short: true},
		{phase: "half a body", says: post},
		{phase: "a body byte by byte", says: post, again: "a"},
		{phase: "idle", says: get},
		{phase: "answers not read", says: strings.Repeat(of(large), map[bool]int{true: 10_000, false: 300}[large == "/token"])},
	}
	for i := range all {
		all[i].listener, all[i].addr, all[i].protocol = listener, addr, protocol
	}
	return all
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
	to := conn
	if p.protocol != "" {
		secure := tls.Client(conn, anyServer(p.protocol))
		within, stop := context.WithTimeout(ctx, bound)
		defer stop()
		if secure.HandshakeContext(within) != nil {
			return over(conn)
		}
		to = secure
	}
	var silent atomic.Int64 // when it said the last of what it says
	silent.Store(time.Now().UnixNano())
	go p.say(to, &silent)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for time.Since(time.Unix(0, silent.Load())) < bound {
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

// say says as much as the server takes.
func (p stillness) say(to io.Writer, silent *atomic.Int64) {
	for piece := range slices.Chunk([]byte(p.says), 16<<10) {
		if _, err := to.Write(piece); err != nil {
			return
		}
		silent.Store(time.Now().UnixNano())
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for p.again != "" {
		<-tick.C
		if _, err := io.WriteString(to, p.again); err != nil {
			return
		}
	}
}
