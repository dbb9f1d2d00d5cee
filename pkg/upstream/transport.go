package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"
)

// byScheme is a transport with different dialers for connections with and without
// TLS.
type byScheme struct{ secure, clear *http.Transport }

// transport makes the transport of every request: to registries, token endpoints,
// targets of redirects and ECR's API. It uses no cookies, follows no redirect and
// decompresses nothing.
func (e egress) transport() byScheme {
	transport := func(inClear bool) *http.Transport {
		return &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				return e.dial(ctx, address, inClear)
			},
			DialTLSContext:         e.dialTLS,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
			ForceAttemptHTTP2:      !inClear,
			MaxIdleConns:           512,
			MaxIdleConnsPerHost:    e.limits.blobs,
			IdleConnTimeout:        90 * time.Second,
			// Detect dead connections, and bound what an upstream may send before it is
			// read.
			HTTP2: &http.HTTP2Config{
				SendPingTimeout:               15 * time.Second,
				PingTimeout:                   15 * time.Second,
				MaxReceiveBufferPerConnection: 32 << 20,
				MaxReceiveBufferPerStream:     4 << 20,
			},
		}
	}
	return byScheme{secure: transport(false), clear: transport(true)}
}

// dialTLS connects to an upstream by TLS. It is not left to http.Transport, which reads the
// trusted authorities only once.
func (e egress) dialTLS(ctx context.Context, _, address string) (net.Conn, error) {
	conn, err := e.dial(ctx, address, false)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: e.roots(), ServerName: hostOf(address), NextProtos: []string{"h2", "http/1.1"},
	}
	if own := e.certificate; own != nil {
		// Also for a server that names other authorities: its refusal is clearer.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.limits.tls, errSlow)
	defer cancel()
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, nil
}

// RoundTrip implements http.RoundTripper.
func (b byScheme) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "http" {
		return b.clear.RoundTrip(r)
	}
	return b.secure.RoundTrip(r)
}

// CloseIdleConnections closes the connections that no request uses.
func (b byScheme) CloseIdleConnections() {
	b.secure.CloseIdleConnections()
	b.clear.CloseIdleConnections()
}
