package testserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// ProxyFault is what a ScriptedProxy does other than right.
type ProxyFault int

// The faults of proxies.
const (
	ProxyRight   ProxyFault = iota
	ProxyRefuses            // 403, as an access list does
	ProxyLogin              // 407
	ProxyAbsent             // 502: it cannot reach the target
	ProxyMissing            // 404 with an error body of a registry
	ProxySilent             // no response
	ProxyEndless            // a response header without end
	ProxySpeaks             // bytes of its own after the response
	ProxyCuts               // it closes the connection
)

// ScriptedProxy is a forward proxy of CONNECT that records what it is told. It leads
// all names of Hosts to their addresses. It goes with the test.
type ScriptedProxy struct {
	Hosts map[string]string // addresses, host:port, of targets "name:port"; others are connected to as they are

	listener net.Listener
	mu       sync.Mutex
	fault    ProxyFault
	requests []*http.Request
}

// StartScriptedProxy starts a proxy; with a configuration of TLS it is reached by TLS.
func StartScriptedProxy(t testing.TB, secure *tls.Config) *ScriptedProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	p := &ScriptedProxy{Hosts: map[string]string{}, listener: l}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				defer conn.Close()
				p.serve(ctx, conn)
			})
		}
	})
	return p
}

// Addr is where the proxy listens, host:port.
func (p *ScriptedProxy) Addr() string { return p.listener.Addr().String() }

// Play makes the proxy commit the fault from now on.
func (p *ScriptedProxy) Play(f ProxyFault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

// Requests are those that it got, in order.
func (p *ScriptedProxy) Requests() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*http.Request(nil), p.requests...)
}

func (p *ScriptedProxy) serve(ctx context.Context, conn net.Conn) {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	p.mu.Lock()
	p.requests = append(p.requests, r)
	fault, target := p.fault, p.Hosts[r.Host]
	p.mu.Unlock()
	if r.Method != http.MethodConnect {
		_, _ = io.WriteString(conn, "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
		return
	}
	if target == "" {
		target = r.Host
	}
	switch fault {
	case ProxyRefuses:
		_, _ = io.WriteString(conn, "HTTP/1.1 403 Filtered\r\nContent-Length: 0\r\n\r\n")
		return
	case ProxyLogin:
		_, _ = io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"proxy\"\r\nContent-Length: 0\r\n\r\n")
		return
	case ProxyAbsent:
		_, _ = io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	case ProxyMissing:
		const body = `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 404 Not Found\r\nDocker-Distribution-Api-Version: registry/2.0\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		return
	case ProxySilent:
		_, _ = io.Copy(io.Discard, conn)
		return
	case ProxyEndless:
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		for {
			if _, err := io.WriteString(conn, "X-More: of the same\r\n"); err != nil {
				return
			}
		}
	case ProxyCuts:
		return
	case ProxyRight, ProxySpeaks:
	}
	p.join(ctx, conn, target, fault == ProxySpeaks)
}

// join connects the client with the target.
func (p *ScriptedProxy) join(ctx context.Context, conn net.Conn, target string, speaks bool) {
	there, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	defer there.Close()
	reply := "HTTP/1.1 200 Connection established\r\n\r\n"
	if speaks {
		reply += "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	}
	_, _ = io.WriteString(conn, reply)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(conn, there)
		_ = conn.Close()
	})
	_, _ = io.Copy(there, conn)
	_ = there.Close()
	back.Wait()
}
