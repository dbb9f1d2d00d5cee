package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Proxy is a forward proxy that the operator names, for upstreams that choose it.
type Proxy struct {
	Tenant string // slug of the only tenant that may choose it; empty for all
	Name   string
	// URL is http or https, and may contain a user and a password. With the query
	// "resolve=proxy" the proxy resolves names, otherwise this process does. Empty means
	// a direct connection.
	URL string
}

// proxy is a forward proxy that connects by CONNECT (RFC 9110, section 9.3.6), to
// upstreams without TLS as well: so it gets the address that was checked, while the
// upstream gets its name. A nil *proxy is a direct connection.
type proxy struct {
	at       *url.URL
	resolves bool                  // it gets names instead of addresses
	roots    func() *x509.CertPool // for a proxy that is reached by TLS
}

// newProxy reads the URL of a proxy, which is valid.
func newProxy(u *url.URL, roots func() *x509.CertPool) *proxy {
	if u == nil || u.Host == "" {
		return nil
	}
	return &proxy{at: u, resolves: u.Query().Get("resolve") == "proxy", roots: roots}
}

// errProxy is the cause of a failure to connect through a proxy.
var errProxy = errors.New("the proxy does not connect")

// maxProxyReply bounds the response of a proxy, in bytes.
const maxProxyReply = 64 << 10

// connect returns a connection to target, "host:port", through the proxy.
func (p *proxy) connect(ctx context.Context, dialer *net.Dialer, target string, shown net.Addr) (net.Conn, error) {
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(p.at.Hostname(), p.port()))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProxy, err)
	}
	// The end of ctx ends what follows, too.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	opened, err := p.ask(ctx, conn, target)
	if !stop() && err == nil {
		err = fmt.Errorf("%w: %w", errProxy, context.Cause(ctx))
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return tunnel{Conn: opened, to: shown}, nil
}

func (p *proxy) port() string {
	switch {
	case p.at.Port() != "":
		return p.at.Port()
	case p.at.Scheme == "https":
		return "443"
	default:
		return "80"
	}
}

// ask sends CONNECT over a connection to the proxy.
func (p *proxy) ask(ctx context.Context, conn net.Conn, target string) (net.Conn, error) {
	if p.at.Scheme == "https" {
		secure := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots(), ServerName: p.at.Hostname()})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", errProxy, err)
		}
		conn = secure
	}
	rq := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target, Header: http.Header{"User-Agent": {"berth"}}}
	if user := p.at.User; user != nil {
		password, _ := user.Password()
		rq.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := rq.Write(conn); err != nil {
		return nil, fmt.Errorf("%w: %w", errProxy, err)
	}
	reply := bufio.NewReader(io.LimitReader(conn, maxProxyReply))
	resp, err := http.ReadResponse(reply, rq)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProxy, err)
	}
	_ = resp.Body.Close() // that of a CONNECT is empty
	switch {
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: it answered CONNECT with status %d", errProxy, resp.StatusCode)
	case reply.Buffered() > 0: // upstreams speak only after this process did
		return nil, fmt.Errorf("%w: it sent bytes before the upstream was asked", errProxy)
	}
	return conn, nil
}

// tunnel is a connection through a proxy. Its remote address is that of the upstream,
// which decides what the upstream may lead to.
type tunnel struct {
	net.Conn
	to net.Addr
}

// RemoteAddr implements net.Conn.
func (t tunnel) RemoteAddr() net.Addr { return t.to }

// byName is the address of an upstream that a proxy resolves.
type byName string

// Network implements net.Addr.
func (byName) Network() string { return "tcp" }

// String implements net.Addr.
func (n byName) String() string { return string(n) }
