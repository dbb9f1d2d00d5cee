package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
)

// ways are those to upstreams, by the names that upstream_proxies has for them: directly, and
// through a proxy that gets addresses or names.
const ways = "direct,addresses,names"

// proxyAt is where the proxy listens, which goes wherever it is told.
const proxyAt = "127.0.0.3:3128"

// proxies are the entries of upstream_proxies, and denied those of upstream_deny: names
// that lead inside, which Berth cannot know where the proxy resolves them.
const (
	proxies = "direct=direct,addresses=http://" + proxyAt + ",names=http://" + proxyAt + "?resolve=proxy"
	denied  = "*.addr.test,mixed.test,cname.test,*.internal"
)

// serveProxy serves CONNECT. aliases are addresses that stand for others.
func serveProxy(ctx context.Context, aliases map[string]string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", proxyAt)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go forward(ctx, conn, aliases)
		}
	}()
	return nil
}

func forward(ctx context.Context, conn net.Conn, aliases map[string]string) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	target := r.Host
	if other, ok := aliases[target]; ok {
		target = other
	}
	there, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	defer there.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(conn, there)
		_ = conn.Close()
	})
	_, _ = io.Copy(there, conn)
	_ = there.Close()
	back.Wait()
}
